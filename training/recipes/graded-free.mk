# Runs the arms of docs/experiments/2026-11-29-collapse.md by name and seed, with what they start from, and measures them:
#
#   make -f training/recipes/graded-free.mk grpo-0 autotool-0
#   make -f training/recipes/graded-free.mk all
#   make -f training/recipes/graded-free.mk report
#
# Every stage goes on where it was stopped when the command is given again. Each run has one thread: two runs (-j2) are faster on
# two cores than one run with two threads. A GPU takes the options RL="--set rl.accumulation=1".

R := training/recipes/graded-free
BASE := free/base
DONE := mode_profile.json
SEEDS := 0 1 2
THREE_SEEDS := grpo autotool
ONE_SEED := static-beta-0.005 static-beta-0.05 static-beta-0.5 no-decoupling length-bonus
RUNS := $(foreach seed,$(SEEDS),$(THREE_SEEDS:=-$(seed))) $(ONE_SEED:=-0)
RL :=
export OMP_NUM_THREADS ?= 1

.PHONY: all report sft
.SECONDARY:
.DELETE_ON_ERROR:
all: $(RUNS)

# The commands do nothing if their run has ended, and go on if it was stopped. Every arm can be run with every seed.
define run
.PHONY: $(1)-$(2)
$(1)-$(2): free/rl.jsonl free/sft-0/$(DONE)
	autotool train rl $(R)$(if $(filter autotool,$(1)),,-$(1)).toml --seed $(2) --records $$< --base free/sft-0 --out free/$$@ $(RL)
	python training/recipes/graded_free_measure.py test free/sft-0 free/$$@
endef
$(foreach arm,$(THREE_SEEDS) $(ONE_SEED),$(foreach seed,$(SEEDS),$(eval $(call run,$(arm),$(seed)))))

sft: free/sft-0/$(DONE)

free/sft-0/$(DONE): free/labelled.jsonl
	autotool train sft $(R).toml --records $< --out $(@D)

$(BASE)/$(DONE):
	autotool train scratch $(R)-base.toml --out $(@D)

free/labelled.jsonl: free/data.jsonl $(BASE)/$(DONE)
	autotool train label --records $< --short $(BASE) --long $< --k 1 --threshold 1 --max-tokens 64 --batch 256 --out $@

free/test.jsonl:
	autotool bench texts --suite graded --out $@

free/data.jsonl: SOURCE := graded_free=300 --seed 11
free/fresh.jsonl: SOURCE := graded_free=400 --seed 12
free/data.jsonl free/fresh.jsonl: free/test.jsonl
	autotool train data --source $(SOURCE) --against $< --out $@

# A quarter of the records is of the levels that seldom need a thought.
free/rl.jsonl: free/fresh.jsonl
	(grep -E '"level":[4-6]' $<; grep -E '"level":[1-3]' $< | awk 'NR % 3 == 0') > $@

report:
	python training/recipes/graded_free_report.py test free free/report
	autotool train plot $(THREE_SEEDS:%=free/%-0) --out free/dynamics.svg
