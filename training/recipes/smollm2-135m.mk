# The default model's first stage, from the data on, and the data of the stages after it, which are not here yet. What is there
# already is left as it is, and a run that was stopped goes on:
#
#   make -f training/recipes/smollm2-135m.mk TRAIN=data/train EVAL=data/eval
#
# TRAIN has the files of Seal-Tools (rows and seal_tools_apis.jsonl), ToolRL, Glaive and reason_tool_use, EVAL those of API-Bank,
# ACEBench and Seal-Tools' out-of-domain test (docs/training.md).
# The figures of docs/log.md are of data that the code of commit 67d1180 made: `seal_apis` and --together draw otherwise since.
# The commands were run one by one, not by this file as a whole.

R := training/recipes/smollm2-135m
DONE := mode_profile.json
SUITES := bfcl graded api-bank acebench seal-tools
KEPT := --licence Apache-2.0 --write-reasoning --max-chars 3000 $(SUITES:%=--against smol/tested-%.jsonl)
APIS := s1a s1b s2c s2d
PARTS := $(foreach stage,practice sft,$(stage)-one $(stage)-many $(stage)-graded)

.SECONDARY:
.DELETE_ON_ERROR:

smol/practice/$(DONE): smol/practice.jsonl
	autotool train sft $(R)-practice.toml --records $< --out $(@D)

smol/practice.jsonl smol/sft.jsonl smol/rl.jsonl &: smol/natural.jsonl $(PARTS:%=smol/%.jsonl)
	python training/recipes/smollm2_135m_data.py deal smol

smol/tested-%.jsonl:
	autotool bench texts --suite $* $(if $(filter bfcl graded,$*),,--directory $(EVAL)$(if $(filter acebench,$*),/acebench_sample)) --out $@

$(APIS:%=smol/%.jsonl) &:
	mkdir -p smol
	python training/recipes/smollm2_135m_data.py apis $(TRAIN)/seal_tools_apis.jsonl $(EVAL)/seal_tools_out_domain.jsonl smol

smol/practice-one.jsonl: HOW := seal_apis=smol/s1a.jsonl --seed 1
smol/practice-many.jsonl: HOW := seal_apis=smol/s1b.jsonl --max seal_apis=1500 --together 5 --distractors 2 --seed 2
smol/sft-one.jsonl: HOW := seal_apis=smol/s2c.jsonl --seed 11
smol/sft-many.jsonl: HOW := seal_apis=smol/s2d.jsonl --max seal_apis=900 --together 5 --distractors 2 --seed 12
$(foreach stage,practice sft,smol/$(stage)-one.jsonl smol/$(stage)-many.jsonl): $(APIS:%=smol/%.jsonl) $(SUITES:%=smol/tested-%.jsonl)
	autotool train data --source $(HOW) --irrelevant 0.2 $(KEPT) --out $@

smol/practice-graded.jsonl: HOW := --source graded=40 --seed 3
smol/sft-graded.jsonl: HOW := --source graded=150 --seed 13
smol/practice-graded.jsonl smol/sft-graded.jsonl: $(SUITES:%=smol/tested-%.jsonl)
	autotool train data $(HOW) --together 8 --distractors 2 --irrelevant 0.1 $(KEPT) --out $@

smol/natural.jsonl: $(SUITES:%=smol/tested-%.jsonl)
	autotool train data --source seal_tools=$(TRAIN)/seal_tools_dev.jsonl --source seal_tools=$(TRAIN)/seal_tools_in_domain.jsonl \
	  --source toolrl=$(TRAIN)/toolrl_sft.json --source glaive=$(TRAIN)/glaive_toolcall_300.json \
	  --source reason_tool_use=$(TRAIN)/reason_tool_use_50.jsonl --max glaive/text=60 --max glaive/reply=40 \
	  --together 2 --distractors 2 --irrelevant 0.15 --seed 4 $(KEPT) --out $@
