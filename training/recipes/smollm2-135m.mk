# The default model from the sources on: data, the four stages of practice, labels, SFT and its baselines, refinement, RL and its
# baseline, and the adapter that is to be shipped. What is there already is left as it is, and a run that was stopped
# goes on:
#
#   make -f training/recipes/smollm2-135m.mk TRAIN=data/train EVAL=data/eval
#
# TRAIN has the files of Seal-Tools (rows and seal_tools_apis.jsonl), ToolRL, Glaive and reason_tool_use, EVAL those of API-Bank,
# ACEBench and Seal-Tools' out-of-domain test (docs/training.md).
# The first practice's data were made by the code of commit 67d1180: `seal_apis` and --together draw otherwise since.
# The commands were run one by one, up to practice-4, not by this file as a whole.

R := training/recipes/smollm2-135m
DONE := mode_profile.json
SUITES := bfcl graded api-bank acebench seal-tools
KEPT := --licence Apache-2.0 --write-reasoning --max-chars 3000 $(SUITES:%=--against smol/tested-%.jsonl)
APIS := s1a s1b q1a q1b s2c s2d
PARTS := practice-one practice-many practice-graded practice-2-one practice-2-many practice-4-graded sft-one sft-many sft-graded

.PHONY: all
.SECONDARY:
.DELETE_ON_ERROR:
all: smol/adapter/adapter_model.safetensors smol/always-short/$(DONE) smol/always-long/$(DONE) smol/grpo/$(DONE)

# Of rank 40 it is 24.4 MB in bfloat16.
smol/adapter/adapter_model.safetensors: smol/autotool/$(DONE)
	autotool train join $(patsubst %,smol/%/adapter,practice practice-2 practice-3 practice-4 sft autotool) --rank 40 --out $(@D)

smol/autotool/$(DONE): smol/refined.jsonl
	autotool train rl $(R).toml --records $< --base smol/sft --out $(@D)

smol/grpo/$(DONE): smol/refined.jsonl
	autotool train rl $(R)-grpo.toml --records $< --base smol/sft --out $(@D)

smol/refined.jsonl: smol/rl.jsonl smol/sft/$(DONE)
	autotool train refine $(R).toml --records $< --checkpoint smol/sft/steps --out $@

smol/always-%/$(DONE): smol/labelled.jsonl
	autotool train sft $(R)-always-$*.toml --records $< --out $(@D)

smol/sft/$(DONE): smol/labelled.jsonl
	autotool train sft $(R).toml --records $< --out $(@D)

smol/labelled.jsonl: smol/sft-labelled.jsonl smol/plain-more.jsonl
	cat $^ > $@

# vLLM is the fastest on a CPU too, and asks for a server.
URL := http://localhost:8000/v1
smol/sft-labelled.jsonl: smol/sft.jsonl smol/practice-4/$(DONE)
	autotool serve --model smol/practice-4 & server=$$!; trap "kill $$server" EXIT; \
	  until curl -sf localhost:8000/health/ready; do kill -0 $$server || exit 1; sleep 2; done; \
	  autotool train label --records $< --short $(URL) --long $(URL) --k 2 --max-tokens 320 --concurrency 64 --out $@

smol/plain.jsonl smol/plain-more.jsonl: smol/s2d.jsonl smol/sft-many.jsonl
	python $(R:%-135m=%_135m)_plain.py $^ $@ $(if $(findstring more,$@),4)

smol/practice-4/$(DONE): smol/practice-4.jsonl smol/practice-3/$(DONE)
	autotool train sft $(R)-practice-4.toml --records $< --out $(@D)

smol/practice-3/$(DONE): smol/practice-3.jsonl smol/practice-2/$(DONE)
	autotool train sft $(R)-practice-3.toml --records $< --out $(@D)

smol/practice-2/$(DONE): smol/practice-2.jsonl smol/practice/$(DONE)
	autotool train sft $(R)-practice-2.toml --records $< --out $(@D)

smol/practice/$(DONE): smol/practice.jsonl
	autotool train sft $(R)-practice.toml --records $< --out $(@D)

smol/practice.jsonl smol/practice-2.jsonl smol/practice-3.jsonl smol/practice-4.jsonl smol/sft.jsonl smol/rl.jsonl &: smol/natural.jsonl smol/plain.jsonl $(PARTS:%=smol/%.jsonl)
	python $(R:%-135m=%_135m)_data.py deal smol

smol/tested-%.jsonl:
	autotool bench texts --suite $* $(if $(filter bfcl graded,$*),,--directory $(EVAL)$(if $(filter acebench,$*),/acebench_sample)) --out $@

$(APIS:%=smol/%.jsonl) &:
	mkdir -p smol
	python $(R:%-135m=%_135m)_data.py apis $(TRAIN)/seal_tools_apis.jsonl $(EVAL)/seal_tools_out_domain.jsonl smol

smol/practice-one.jsonl: HOW := seal_apis=smol/s1a.jsonl --seed 1
smol/practice-many.jsonl: HOW := seal_apis=smol/s1b.jsonl --max seal_apis=1500 --together 5 --distractors 2 --seed 2
smol/practice-2-one.jsonl: HOW := seal_apis=smol/q1a.jsonl --max seal_apis=1100 --seed 21
smol/practice-2-many.jsonl: HOW := seal_apis=smol/q1b.jsonl --max seal_apis=1500 --together 7 --distractors 3 --seed 22
smol/sft-one.jsonl: HOW := seal_apis=smol/s2c.jsonl --seed 11
smol/sft-many.jsonl: HOW := seal_apis=smol/s2d.jsonl --max seal_apis=900 --together 5 --distractors 2 --seed 12
$(foreach stage,practice practice-2 sft,smol/$(stage)-one.jsonl smol/$(stage)-many.jsonl): $(APIS:%=smol/%.jsonl) $(SUITES:%=smol/tested-%.jsonl)
	autotool train data --source $(HOW) --irrelevant 0.2 $(KEPT) --out $@

# A refusal fits none of these offers, so that --irrelevant makes none.
smol/practice-graded.jsonl: HOW := --source graded=40 --seed 3
smol/practice-4-graded.jsonl: HOW := --source graded=220 --seed 23
smol/sft-graded.jsonl: HOW := --source graded=150 --seed 13
smol/practice-graded.jsonl smol/practice-4-graded.jsonl smol/sft-graded.jsonl: $(SUITES:%=smol/tested-%.jsonl)
	autotool train data $(HOW) --together 8 --distractors 2 --irrelevant 0.1 $(KEPT) --out $@

smol/natural.jsonl: $(SUITES:%=smol/tested-%.jsonl)
	autotool train data --source seal_tools=$(TRAIN)/seal_tools_dev.jsonl --source seal_tools=$(TRAIN)/seal_tools_in_domain.jsonl \
	  --source toolrl=$(TRAIN)/toolrl_sft.json --source glaive=$(TRAIN)/glaive_toolcall_300.json \
	  --source reason_tool_use=$(TRAIN)/reason_tool_use_50.jsonl --max glaive/text=60 --max glaive/reply=40 \
	  --together 2 --distractors 2 --irrelevant 0.15 --seed 4 $(KEPT) --out $@
