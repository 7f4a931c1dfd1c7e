# Trains the default model from its sources: data, pretraining on tool calls (the stage `practice`), labels, SFT and its baselines,
# refinement, RL and its baseline, a second SFT (the stage `again`), and the merged adapter of all stages. Existing files are kept,
# and an interrupted run continues:
#
#   make -f training/recipes/smollm2-135m.mk TRAIN=data/train EVAL=data/eval
#
# TRAIN contains the files of Seal-Tools (rows and seal_tools_apis.jsonl), ToolRL, Glaive and reason_tool_use. EVAL contains those
# of API-Bank, ACEBench and Seal-Tools' out-of-domain test (docs/guides/train.md). PRETRAIN_FLAGS, SFT_FLAGS, REFINE_FLAGS, RL_FLAGS and
# SFT2_FLAGS take the options that the recipes recommend for a machine: pretraining, RL and the second SFT have some for a CPU, SFT
# has some for a CPU without bfloat16, and refinement and RL have some for a GPU.
# The commands were run one by one. This file was not run as a whole (docs/experiments/2026-11-27-default-model-training.md).

R := training/recipes/smollm2-135m
DONE := mode_profile.json
SUITES := bfcl graded api-bank acebench seal-tools
FILTERS := --licence Apache-2.0 --write-reasoning --max-chars 3000 $(SUITES:%=--against smol/tested-%.jsonl)
APIS := one many later
REQUESTS := practice-one practice-many practice-wide more-one more-many sft-many again-one again-told again-many
STAGES := practice sft autotool again
IRRELEVANT := 0.2
PARTS := practice-one practice-many practice-wide sft-many natural plain practice-graded sft-graded

.PHONY: all
.SECONDARY:
.DELETE_ON_ERROR:
all: smol/adapter/adapter_model.safetensors smol/always-short/$(DONE) smol/always-long/$(DONE) smol/grpo/$(DONE)

# The adapter keeps the 40 largest of the stages' 56 ranks (34, 4, 2 and 16), which are 24.5 MB in bfloat16. It takes half of the
# second SFT, so that the model lies between that stage and RL (docs/experiments/2026-11-27-default-model-training.md).
smol/adapter/adapter_model.safetensors: smol/again/$(DONE)
	autotool train join $(STAGES:%=smol/%/adapter) --rank 40 --share 0.5 --out $(@D)

smol/again/$(DONE): smol/again.jsonl smol/autotool/$(DONE)
	autotool train sft $(R)-sft2.toml --records $< --out $(@D) $(SFT2_FLAGS)

smol/autotool/$(DONE): smol/refined.jsonl
	autotool train rl $(R).toml --records $< --base smol/sft --out $(@D) $(RL_FLAGS)

smol/grpo/$(DONE): smol/refined.jsonl
	autotool train rl $(R)-grpo.toml --records $< --base smol/sft --out $(@D) $(RL_FLAGS)

smol/refined.jsonl: smol/rl-all.jsonl smol/sft/$(DONE)
	autotool train refine $(R).toml --records $< --checkpoint smol/sft/steps --out $@ $(REFINE_FLAGS)

smol/rl-all.jsonl: smol/rl.jsonl smol/rl-more.jsonl
	cat $^ > $@

smol/always-%/$(DONE): smol/again.jsonl smol/practice/$(DONE)
	autotool train sft $(R)-always-$*.toml --records $< --out $(@D) $(SFT2_FLAGS)

smol/sft/$(DONE): smol/labelled.jsonl
	autotool train sft $(R).toml --records $< --out $(@D) $(SFT_FLAGS)

smol/labelled.jsonl: smol/sft-labelled.jsonl smol/plain.jsonl smol/more.jsonl
	(cat $<; head -80 smol/plain.jsonl; cat smol/more.jsonl) > $@

# Another server on the port has another name.
URL := http://localhost:8000/v1
smol/sft-labelled.jsonl: smol/sft.jsonl smol/practice/$(DONE)
	autotool serve --model smol/practice --served-model-name smol-practice & server=$$!; trap "kill $$server" EXIT; \
	  until curl -sf localhost:8000/health/ready && curl -sf $(URL)/models | grep -q '"smol-practice"'; do kill -0 $$server || exit 1; sleep 2; done; \
	  autotool train label --records $< --short $(URL) --long $(URL) --k 2 --max-tokens 320 --concurrency 64 --out $@

smol/practice/$(DONE): smol/practice.jsonl
	autotool train sft $(R)-pretrain.toml --records $< --out $(@D) $(PRETRAIN_FLAGS)

smol/practice.jsonl smol/sft.jsonl smol/rl.jsonl smol/tasks.jsonl &: $(PARTS:%=smol/%.jsonl)
	python $(R:%-135m=%_135m)_data.py split smol

LEARNT := practice labelled rl tasks later
smol/again.jsonl smol/held.jsonl &: $(patsubst %,smol/%.jsonl,again-one again-told again-many again-graded $(LEARNT))
	python $(R:%-135m=%_135m)_data.py again smol

smol/again-graded.jsonl: smol/again-tried.jsonl smol/autotool/$(DONE)
	autotool train label --records $< --short smol/autotool --long $< --k 4 --threshold 1 --max-tokens 256 --out $@

smol/again-tried.jsonl: smol/labelled.jsonl smol/tasks.jsonl
	python $(R:%-135m=%_135m)_data.py tried smol

smol/more.jsonl smol/rl-more.jsonl &: smol/more-one.jsonl smol/more-many.jsonl
	python $(R:%-135m=%_135m)_data.py more smol

smol/plain.jsonl: smol/many.jsonl smol/sft-many.jsonl
	python $(R:%-135m=%_135m)_plain.py $^ $@

smol/tested-%.jsonl:
	mkdir -p smol
	autotool bench texts --suite $* $(if $(filter bfcl graded,$*),,--directory $(EVAL)$(if $(filter acebench,$*),/acebench_sample)) --out $@

$(APIS:%=smol/%.jsonl) &:
	mkdir -p smol
	python $(R:%-135m=%_135m)_data.py tools $(TRAIN)/seal_tools_apis.jsonl $(EVAL)/seal_tools_out_domain.jsonl smol

smol/practice-one.jsonl: SOURCE := seal_apis=smol/one.jsonl --seed 1
smol/practice-many.jsonl: SOURCE := seal_apis=smol/many.jsonl --max seal_apis=3500 --together 5 --distractors 2 --seed 2
smol/practice-wide.jsonl: SOURCE := seal_apis=smol/many.jsonl --max seal_apis=2500 --together 7 --distractors 3 --seed 22
smol/sft-many.jsonl: SOURCE := seal_apis=smol/later.jsonl --max seal_apis=2600 --together 5 --distractors 2 --seed 12
smol/more-one.jsonl: SOURCE := seal_apis=smol/later.jsonl --max seal_apis=1200 --seed 32
smol/more-many.jsonl: SOURCE := seal_apis=smol/later.jsonl --max seal_apis=1500 --together 5 --distractors 2 --seed 33
smol/more-one.jsonl: IRRELEVANT := 0.3
smol/again-one.jsonl: SOURCE := seal_apis=smol/later.jsonl --seed 42
smol/again-told.jsonl: SOURCE := seal_apis=smol/one.jsonl --source seal_apis=smol/many.jsonl --seed 44
smol/again-many.jsonl: SOURCE := seal_apis=smol/later.jsonl --together 5 --distractors 2 --seed 43
smol/again-one.jsonl smol/again-told.jsonl smol/again-many.jsonl: IRRELEVANT := 0.15
$(REQUESTS:%=smol/%.jsonl): $(APIS:%=smol/%.jsonl) $(SUITES:%=smol/tested-%.jsonl)
	autotool train data --source $(SOURCE) --irrelevant $(IRRELEVANT) $(FILTERS) --out $@

# No graded task can become a refusal in these tool sets, so --irrelevant has no effect.
smol/practice-graded.jsonl: SOURCE := --source graded=600 --seed 3
smol/sft-graded.jsonl: SOURCE := --source graded=400 --seed 13
smol/practice-graded.jsonl smol/sft-graded.jsonl: $(SUITES:%=smol/tested-%.jsonl)
	autotool train data $(SOURCE) --together 8 --distractors 2 --irrelevant 0.1 $(FILTERS) --out $@

smol/natural.jsonl: $(SUITES:%=smol/tested-%.jsonl)
	autotool train data --source seal_tools=$(TRAIN)/seal_tools_dev.jsonl --source seal_tools=$(TRAIN)/seal_tools_in_domain.jsonl \
	  --source toolrl=$(TRAIN)/toolrl_sft.json --source glaive=$(TRAIN)/glaive_toolcall_300.json \
	  --source reason_tool_use=$(TRAIN)/reason_tool_use_50.jsonl --max glaive/text=60 --max glaive/reply=40 \
	  --together 2 --distractors 2 --irrelevant 0.15 --seed 4 $(FILTERS) --out $@
