# Trains an adapter like that of qwen2.5-coder-0.5b from its sources: data, and one SFT. The shipped one is the sum of two SFTs
# (docs/experiments/2026-11-30-coder-first-sft.md), and this file was not run as a whole. Existing files are kept, and an
# interrupted run continues:
#
#   make -f training/recipes/qwen2.5-coder-0.5b.mk TRAIN=data/train EVAL=data/eval
#
# TRAIN contains the files of Seal-Tools (rows and seal_tools_apis.jsonl), ToolRL, Glaive and reason_tool_use. EVAL contains those
# of API-Bank, ACEBench and Seal-Tools' out-of-domain test (docs/guides/train.md).

R := training/recipes/qwen2.5-coder-0.5b
DATA := training/recipes/qwen_coder_data.py
SMOL := training/recipes/smollm2_135m
DONE := mode_profile.json
SUITES := bfcl graded api-bank acebench seal-tools
FILTERS := --licence Apache-2.0 --max-chars 3500 $(SUITES:%=--against coder/tested-%.jsonl)
PARTS := api-one api-many natural graded plain turns
URL := http://localhost:8000/v1

.PHONY: all
.SECONDARY:
.DELETE_ON_ERROR:
all: coder/practice/$(DONE)

coder/practice/$(DONE): coder/practice.jsonl
	autotool train sft $(R)-practice.toml --records $< --out $(@D)

coder/practice.jsonl coder/label.jsonl &: $(PARTS:%=coder/%.jsonl)
	python $(DATA) practice coder

coder/tested-%.jsonl:
	mkdir -p coder
	autotool bench texts --suite $* $(if $(filter bfcl graded,$*),,--directory $(EVAL)$(if $(filter acebench,$*),/acebench_sample)) --out $@

coder/one.jsonl coder/many.jsonl coder/later.jsonl &:
	mkdir -p coder
	python $(SMOL)_data.py tools $(TRAIN)/seal_tools_apis.jsonl $(EVAL)/seal_tools_out_domain.jsonl coder

# The base itself writes these answers, so that it goes on to talk as it did. Another server on the port has another name.
coder/plain.jsonl coder/turns.jsonl &: coder/many.jsonl coder/api-one.jsonl coder/api-many.jsonl
	autotool serve --model qwen2.5-coder-0.5b-base --served-model-name coder-base & server=$$!; trap "kill $$server" EXIT; \
	  until curl -sf localhost:8000/health/ready && curl -sf $(URL)/models | grep -q '"coder-base"'; do kill -0 $$server || exit 1; sleep 2; done; \
	  python training/recipes/qwen_coder_plain.py coder/many.jsonl coder/api-many.jsonl $(URL) coder/plain.jsonl && \
	  python training/recipes/qwen_coder_turns.py coder/api-one.jsonl $(TRAIN)/seal_tools_apis.jsonl $(URL) coder/turns.jsonl 1200

coder/api-one.jsonl: SOURCE := --source seal_apis=coder/one.jsonl --irrelevant 0.25 --seed 61
coder/api-many.jsonl: SOURCE := --source seal_apis=coder/many.jsonl --max seal_apis=1200 --together 5 --distractors 2 --irrelevant 0.2 --seed 62
coder/graded.jsonl: SOURCE := --source graded=400 --together 8 --distractors 2 --seed 63
coder/natural.jsonl: SOURCE := --source seal_tools=$(TRAIN)/seal_tools_dev.jsonl \
  --source seal_tools=$(TRAIN)/seal_tools_in_domain.jsonl --source toolrl=$(TRAIN)/toolrl_sft.json \
  --source glaive=$(TRAIN)/glaive_toolcall_300.json --source reason_tool_use=$(TRAIN)/reason_tool_use_50.jsonl \
  --max glaive/text=60 --max glaive/reply=60 --together 2 --distractors 2 --irrelevant 0.15 --seed 64
coder/api-one.jsonl coder/api-many.jsonl coder/graded.jsonl coder/natural.jsonl: coder/one.jsonl $(SUITES:%=coder/tested-%.jsonl)
	autotool train data $(SOURCE) $(FILTERS) --out $@
