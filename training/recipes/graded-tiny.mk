# Runs everything of graded-tiny in docs/guides/train.md, two runs at a time, with its evaluation. Existing files are kept:
#
#   make -f training/recipes/graded-tiny.mk -j2
#
# The times of its parts add up to about five hours on two cores. It was not run there as a whole (see docs/guides/train.md).
# Each run has one thread, because two parallel runs are faster on two cores than one run with two threads.

R := training/recipes/graded-tiny
BASE := training/checkpoints/graded-tiny-base
DONE := mode_profile.json
SEEDS := 0 1 2
SINGLE_SEED := static-beta length-penalty no-decoupling no-adaptive
RUNS := $(foreach seed,$(SEEDS),sft-$(seed) autotool-$(seed) grpo-$(seed) grpo-cold-$(seed)) $(SINGLE_SEED:=-0) always-long-0 always-short-0
export OMP_NUM_THREADS := 1

.PHONY: all base
.SECONDARY:
.DELETE_ON_ERROR:
all: tiny/eval/report.json

# Trains the shipped base again (90 minutes), to compare it with the shipped one or to replace that.
base: tiny/base/$(DONE)

tiny/base-1/$(DONE):
	OMP_NUM_THREADS=2 autotool train scratch $(R)-base.toml --out $(@D)

tiny/base/$(DONE): tiny/base-1/$(DONE)
	OMP_NUM_THREADS=2 autotool train scratch $(R)-base-more.toml --out $(@D)

tiny/test.jsonl:
	autotool bench texts --suite graded --out $@

tiny/data-2.jsonl: SOURCE := graded=500 --seed 2
tiny/data-4.jsonl: SOURCE := graded=400 --seed 4
tiny/fresh.jsonl: SOURCE := graded=250 --seed 5
tiny/data-2.jsonl tiny/data-4.jsonl tiny/fresh.jsonl: tiny/test.jsonl
	autotool train data --source $(SOURCE) --against $< --out $@

tiny/labelled-%.jsonl: tiny/data-%.jsonl
	autotool train label --records $< --short $(BASE) --long $(BASE) --k 2 --threshold 1 --max-tokens 256 --batch 256 --out $@

tiny/labelled.jsonl: tiny/labelled-2.jsonl tiny/labelled-4.jsonl
	cat $^ > $@

tiny/sft-%/$(DONE): tiny/labelled.jsonl
	autotool train sft $(R).toml --seed $* --records $< --out $(@D)

tiny/always-%-0/$(DONE): tiny/labelled.jsonl
	autotool train sft $(R)-always-$*.toml --records $< --out $(@D)

# The records are refined only once, so that the seeds differ only in their training.
tiny/refined.jsonl: tiny/fresh.jsonl tiny/sft-0/$(DONE)
	autotool train refine $(R).toml --records $< --checkpoint tiny/sft-0/steps --out $@

tiny/autotool-%/$(DONE): tiny/refined.jsonl tiny/sft-%/$(DONE)
	autotool train rl $(R).toml --seed $* --records $< --base tiny/sft-$* --out $(@D)

tiny/grpo-%/$(DONE): tiny/refined.jsonl tiny/sft-%/$(DONE)
	autotool train rl $(R)-grpo.toml --seed $* --records $< --base tiny/sft-$* --out $(@D)

tiny/grpo-cold-%/$(DONE): tiny/fresh.jsonl
	autotool train rl $(R)-grpo-cold.toml --seed $* --records $< --out $(@D)

$(SINGLE_SEED:%=tiny/%-0/$(DONE)): tiny/%-0/$(DONE): tiny/refined.jsonl tiny/sft-0/$(DONE)
	autotool train rl $(R)-$*.toml --records $< --base tiny/sft-0 --out $(@D)

tiny/eval/report.json: $(RUNS:%=tiny/%/$(DONE))
	autotool bench perf checkpoints $(RUNS:%=tiny/%) --suite graded --limit 100 --max-tokens 256 --out $(@D)
