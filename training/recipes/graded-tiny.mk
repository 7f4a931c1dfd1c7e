# Every run of graded-tiny in docs/training.md, two at a time, with its evaluation; what is there already is left as it is:
#
#   make -f training/recipes/graded-tiny.mk -j2
#
# By the times of its parts it takes some five hours on two cores; there it was not run as one (docs/training.md says how).
# One thread a run: two runs side by side are faster on two cores than one run with two threads.

R := training/recipes/graded-tiny
BASE := training/checkpoints/graded-tiny-base
DONE := mode_profile.json
SEEDS := 0 1 2
ONCE := static-beta length-penalty no-decoupling no-adaptive
RUNS := $(foreach seed,$(SEEDS),sft-$(seed) autotool-$(seed) grpo-$(seed) grpo-cold-$(seed)) $(ONCE:=-0) always-long-0 always-short-0
export OMP_NUM_THREADS := 1

.PHONY: all base
.SECONDARY:
.DELETE_ON_ERROR:
all: tiny/eval/report.json

# The shipped base, made anew (90 minutes): compare it, or put it in the other's place.
base: tiny/base/$(DONE)

tiny/base-1/$(DONE):
	OMP_NUM_THREADS=2 autotool train scratch $(R)-base.toml --out $(@D)

tiny/base/$(DONE): tiny/base-1/$(DONE)
	OMP_NUM_THREADS=2 autotool train scratch $(R)-base-more.toml --out $(@D)

tiny/test.jsonl:
	autotool bench texts --suite graded --out $@

tiny/data-2.jsonl: DRAWN := graded=500 --seed 2
tiny/data-4.jsonl: DRAWN := graded=400 --seed 4
tiny/fresh.jsonl: DRAWN := graded=250 --seed 5
tiny/data-2.jsonl tiny/data-4.jsonl tiny/fresh.jsonl: tiny/test.jsonl
	autotool train data --source $(DRAWN) --against $< --out $@

tiny/labelled-%.jsonl: tiny/data-%.jsonl
	autotool train label --records $< --short $(BASE) --long $(BASE) --k 2 --threshold 1 --max-tokens 256 --batch 256 --out $@

tiny/labelled.jsonl: tiny/labelled-2.jsonl tiny/labelled-4.jsonl
	cat $^ > $@

tiny/sft-%/$(DONE): tiny/labelled.jsonl
	autotool train sft $(R).toml --seed $* --records $< --out $(@D)

tiny/always-%-0/$(DONE): tiny/labelled.jsonl
	autotool train sft $(R)-always-$*.toml --records $< --out $(@D)

# Chosen once: the seeds then differ in their training alone.
tiny/refined.jsonl: tiny/fresh.jsonl tiny/sft-0/$(DONE)
	autotool train refine $(R).toml --records $< --checkpoint tiny/sft-0/steps --out $@

tiny/autotool-%/$(DONE): tiny/refined.jsonl tiny/sft-%/$(DONE)
	autotool train rl $(R).toml --seed $* --records $< --base tiny/sft-$* --out $(@D)

tiny/grpo-%/$(DONE): tiny/refined.jsonl tiny/sft-%/$(DONE)
	autotool train rl $(R)-grpo.toml --seed $* --records $< --base tiny/sft-$* --out $(@D)

tiny/grpo-cold-%/$(DONE): tiny/fresh.jsonl
	autotool train rl $(R)-grpo-cold.toml --seed $* --records $< --out $(@D)

$(ONCE:%=tiny/%-0/$(DONE)): tiny/%-0/$(DONE): tiny/refined.jsonl tiny/sft-0/$(DONE)
	autotool train rl $(R)-$*.toml --records $< --base tiny/sft-0 --out $(@D)

tiny/eval/report.json: $(RUNS:%=tiny/%/$(DONE))
	autotool bench perf checkpoints $(RUNS:%=tiny/%) --suite graded --limit 100 --max-tokens 256 --out $(@D)
