# Runs the arms of docs/experiments/2026-11-29-collapse.md by name and seed, with what they start from, and measures them:
#
#   make -f training/recipes/graded-free.mk start      the checkpoint that all arms start from, judged on dev
#   make -f training/recipes/graded-free.mk gate       plain GRPO with seed 0, judged on dev
#   make -f training/recipes/graded-free.mk -j2 all    the other arms, if the gate has accepted the world
#   make -f training/recipes/graded-free.mk -j2 report the test split of all runs, the verdicts, tables and figures
#   make -f training/recipes/graded-free.mk -j2 rare   three arms that begin with a long mode that is hardly ever chosen
#   make -f training/recipes/graded-free.mk -j2 compared  all arms on dev, in a world that is not accepted
#
# FREE=FOLDER names another folder than `free`, such as that of another try of a start. SCRATCH, SFT and RL are options of these
# stages, and have to be the same whenever a command is given again for a folder (`rare` and `compared` have an RL of their own):
#
#   make -f training/recipes/graded-free.mk FREE=free-2 SCRATCH="--set base.scratch.practice.long_every=1" start
#
# Every stage goes on where it was stopped when the command is given again. Each run has one thread: two runs (-j2) are faster on
# two cores than one run with two threads. A GPU takes the options RL="--set rl.accumulation=1" for all runs of a folder: they are
# part of what a run is, so that a run that a CPU has begun cannot go on with them.

R := training/recipes/graded-free
FREE := free
BASE := $(FREE)/base
START := $(FREE)/sft-0
DONE := mode_profile.json
MEASURE := python training/recipes/graded_free_measure.py
GATE := python training/recipes/graded_free_gate.py
SEEDS := 0 1 2
THREE_SEEDS := grpo autotool
ONE_SEED := grpo-2e-4 static-beta-0.005 static-beta-0.05 static-beta-0.5 no-decoupling length-bonus
RUNS := $(foreach seed,$(SEEDS),$(THREE_SEEDS:=-$(seed))) $(ONE_SEED:=-0)
# RL has every HARD-th record of the levels 4 to 6 and every EASY-th one of the levels 1 to 3, which seldom need a thought.
HARD := 1
EASY := 3
SCRATCH :=
SFT :=
RL :=
export OMP_NUM_THREADS ?= 1

.PHONY: start gate all report rare compared
.SECONDARY:
.DELETE_ON_ERROR:

start: $(START)/measured-dev.jsonl
	$(GATE) start $(FREE)

gate: grpo-0
	$(MEASURE) dev $(FREE)/grpo-0
	$(GATE) gate $(FREE)

all: $(RUNS)

# The commands do nothing if their run has ended, and go on if it was stopped. Every arm can be run with every seed. The test
# split is measured once all runs have ended.
define run
.PHONY: $(1)-$(2) measured-$(1)-$(2)
$(1)-$(2): $(FREE)/rl.jsonl start $(if $(filter grpo-0,$(1)-$(2)),,gate)
	autotool train rl $(R)$(if $(filter autotool,$(1)),,-$(1)).toml --seed $(2) --records $$< --base $(START) --out $(FREE)/$$@ $(RL)

measured-$(1)-$(2): $(1)-$(2) $(RUNS) $(START)/measured-test.jsonl
	$(MEASURE) test $(FREE)/$(1)-$(2)
endef
$(foreach arm,$(THREE_SEEDS) $(ONE_SEED),$(foreach seed,$(SEEDS),$(eval $(call run,$(arm),$(seed)))))

report: $(RUNS:%=measured-%)
	python training/recipes/graded_free_report.py test $(FREE) $(FREE)/report
	autotool train plot $(THREE_SEEDS:%=$(FREE)/%-0) --out $(FREE)/dynamics.svg

$(START)/measured-dev.jsonl $(START)/measured-test.jsonl: $(START)/$(DONE)
	$(MEASURE) $(@:$(START)/measured-%.jsonl=%) $(START)

# Measured before the arms have ended, the start would be read on test in a world that is not accepted.
$(START)/measured-test.jsonl: | $(RUNS)

$(START)/$(DONE): $(FREE)/labelled.jsonl
	autotool train sft $(R).toml --set base.source=$(BASE) --records $< --out $(@D) $(SFT)

$(BASE)/$(DONE):
	autotool train scratch $(R)-base.toml --out $(@D) $(SCRATCH)

$(FREE)/labelled.jsonl: $(FREE)/data.jsonl $(BASE)/$(DONE)
	autotool train label --records $< --short $(BASE) --long $< --k 1 --threshold 1 --max-tokens 64 --batch 256 --out $@

$(FREE)/test.jsonl:
	autotool bench texts --suite graded --out $@

$(FREE)/data.jsonl: SOURCE := graded_free=300 --seed 11
$(FREE)/fresh.jsonl: SOURCE := graded_free=400 --seed 12
$(FREE)/data.jsonl $(FREE)/fresh.jsonl: $(FREE)/test.jsonl
	autotool train data --source $(SOURCE) --against $< --out $@

# All arms, measured on dev, whether or not the world is accepted.
define compare
.PHONY: compared-$(1)-$(2)
compared-$(1)-$(2): $(FREE)/rl.jsonl start
	autotool train rl $(R)$(if $(filter autotool,$(1)),,-$(1)).toml --seed $(2) --records $$< --base $(START) \
	  --out $(FREE)/compared/$(1)-$(2) $(RL)
	$(MEASURE) dev $(FREE)/compared/$(1)-$(2)
endef
$(foreach arm,$(THREE_SEEDS) $(ONE_SEED),$(foreach seed,$(SEEDS),$(eval $(call compare,$(arm),$(seed)))))

compared: $(RUNS:%=compared-%)
	python training/recipes/graded_free_report.py dev $(FREE)/compared $(FREE)/compared

# RL from a start that chooses to think once in a hundred times, measured on dev.
RARE := grpo halved think-reward
.PHONY: $(RARE:%=rare-%)
rare: $(RARE:%=rare-%)
	python training/recipes/graded_free_rare.py $(FREE)

$(RARE:%=rare-%): rare-%: $(FREE)/rl.jsonl $(FREE)/rare/measured-dev.jsonl
	autotool train rl $(R)-$*.toml --seed 0 --records $< --base $(FREE)/rare --out $(FREE)/$@ $(RL)
	$(MEASURE) dev $(FREE)/$@

$(FREE)/rare/measured-dev.jsonl: $(FREE)/rare/$(DONE)
	$(MEASURE) dev $(@D)

$(FREE)/rare/$(DONE): $(FREE)/rare.jsonl
	autotool train sft $(R).toml --set base.source=$(START) --set sft.learning_rate=1.2e-4 --records $< --out $(@D)

$(FREE)/rare.jsonl: $(FREE)/labelled.jsonl $(START)/$(DONE)
	awk 'NR % 4 == 1 { sub(/"label":"long"/, "\"label\":\"short\""); print }' $< > $@

$(FREE)/rl.jsonl: $(FREE)/fresh.jsonl
	(grep -E '"level":[4-6]' $< | awk 'NR % $(HARD) == 0'; grep -E '"level":[1-3]' $< | awk 'NR % $(EASY) == 0') > $@
