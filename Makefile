# All commands of this project. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
RUN := PYTHONPATH=layers/sd3 $(BIN)/python -m
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
LOCKS ?= requirements
NPM := .tools/node/bin/npm
# What the sd3 layer ships from npm, and what only tests use: OctoAI's SDK for TypeScript, in
# npm-clients the clients of `make test-clients`, in npm-types what writes and checks our types, and
# in npm-browser the checker of `make test-browser`.
NPM_LOCKS := npm npm-tests npm-clients npm-types npm-browser
OCTOAI_SDK := requirements/npm-tests/node_modules/.ok
# The layer that signs images, as the tests of `make test-signing` import it.
SIGNING := .tools/c2pa/.ok
TYPES := requirements/npm-types/node_modules/.ok
CLIENTS := .tools/clients/.ok requirements/npm-clients/node_modules/.ok $(TYPES)
BROWSER := .tools/browser/.ok requirements/npm-browser/node_modules/.ok
# The page at GET /docs is Swagger UI. The file that is copied last is make's target for all of them.
SWAGGER_UI := layers/sd3/sd3/api/docs/swagger-ui
PAGE := $(SWAGGER_UI)/swagger-ui-bundle.js
# Passes a variable that the user set, even to an empty value. The shell reads it from the environment,
# where quotes are safe.
option = $(if $(filter undefined,$(origin $(2))),,$(1)="$$$(2)")
TEMPLATES := template.yaml monitoring.yaml deploy/oidc.yaml
WORKFLOWS := $(wildcard deploy/github/*.yaml)
SETTINGS ?= default
FUNCTION ?= jobs
EVENT ?= events/health.json
TORCH ?= torch==2.13.0
# Every command starts processes that import many modules: cache their bytecode, whatever the shell sets.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help run demo test fuzz test-unit test-integration test-stack-1 test-stack-2 test-load test-batches test-engine test-browser screenshots test-clients test-signing check check-locks check-openapi check-types check-docs check-deployment audit fmt lock openapi types docs build deploy preflight token clients revoke export erase invoke redrive webhooks metrics smoke bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile

run: .venv/.ok .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Run the service on this machine until Ctrl-C; UPSTREAM=stability KEY_FILE=path; C2PA=path
	@$(RUN) local --upstream "$(UPSTREAM)" --upstream-url "$(UPSTREAM_URL)" $(if $(KEY_FILE),--key-file "$(KEY_FILE)") $(if $(C2PA),--c2pa "$(C2PA)")

demo: .venv/.ok ## Send one of everything to the service of `make run`, and show what came; YES=1 where it costs money
	@$(RUN) local.demo $(if $(YES),--yes)

test: .venv/.ok .tools/sam/.ok .tools/ministack/.ok .tools/mcp/.ok $(PAGE) $(OCTOAI_SDK) ## Run the unit, integration and e2e tests; ARGS go to pytest
	@$(if $(ARGS),$(BIN)/pytest $(ARGS),$(MAKE) -s -j 4 test-unit test-integration test-stack-1 test-stack-2)

# `make test` runs these at the same time, since the tests of a stack mostly wait. Each half of them has
# a stack of its own.
test-unit test-integration:
	@$(BIN)/pytest -q tests/$(@:test-%=%)

test-stack-1 test-stack-2:
	@$(BIN)/pytest -q tests/e2e --half $(@:test-stack-%=%)

fuzz: .venv/.ok .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Test the API with random requests; CASES=100 for each route, ARGS go to pytest
	@$(BIN)/pytest -q tests/e2e/test_openapi.py --cases "$(or $(CASES),100)" $(ARGS)

test-load: .venv/.ok .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Send one client's requests by the hundreds to the deployed stack; takes minutes
	@$(BIN)/pytest $(or $(ARGS),-q tests/load)

test-batches: .venv/.ok .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Drop a file of 10,000 lines into the inbox of the deployed stack; LINES is their number
	@LINES="$(LINES)" $(BIN)/pytest $(or $(ARGS),-q -s tests/batches)

test-engine: .tools/engine/.ok ## Run the tests of the engine with weights; TORCH is the version of torch to install
	@.tools/engine/bin/python -m pytest $(or $(ARGS),tests/engine)

test-browser: $(BROWSER) .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Test the pages of the service in this machine's Chromium; CHROMIUM=path, ARGS go to pytest
	@.tools/browser/bin/python -m pytest $(or $(ARGS),tests/browser)

screenshots: ## Write the pictures of the playground in docs/images, by this machine's Chromium
	@$(MAKE) -s test-browser ARGS="-q tests/browser/test_screenshots.py --screenshots docs/images"

test-clients: $(CLIENTS) .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Call the deployed stack by our clients and by those of OpenAI's API that people have; ARGS go to pytest
	@.tools/clients/bin/python -m pytest $(or $(ARGS),-q tests/clients)

test-signing: $(SIGNING) .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Test signed images with C2PA's own reader; ARGS go to pytest
	@PYTHONPATH=.tools/c2pa/python $(BIN)/python -m pytest $(or $(ARGS),-q tests/signing)

check: .venv/.ok check-locks check-openapi check-types check-docs check-deployment ## Check format, lint, types, imports, templates, workflows and generated files
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	@$(BIN)/mypy layers/sd3 functions model_server local ops tools benchmarks examples tests
	@$(BIN)/mypy --python-version 3.10 clients/python
	@PYTHONPATH=.:layers/sd3 $(BIN)/lint-imports

# --min-severity leaves out matters of style.
check-deployment: .venv/.ok .tools/scan/.ok
	@$(BIN)/cfn-lint $(TEMPLATES) -a cfn_lint_serverless.rules
	@$(RUN) tools.scan $(TEMPLATES)
	@.tools/scan/bin/check-jsonschema -q --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@found=$$(.tools/scan/bin/zizmor -q --offline --no-progress --min-severity medium $(WORKFLOWS)) || { echo "$$found"; exit 1; }

check-locks: .venv/.ok
	@rm -rf build/locks && mkdir -p build/locks && cp requirements/*.txt build/locks
	@for npm in $(NPM_LOCKS); do mkdir build/locks/$$npm && \
	  cp requirements/$$npm/package.json requirements/$$npm/package-lock.json requirements/$$npm/.npmrc build/locks/$$npm || exit 1; done
	@$(MAKE) -s lock LOCKS=build/locks
	@diff -r -x '*.in' -x node_modules requirements build/locks || (echo "the locks are behind *.in or package.json: make lock" && exit 1)

check-openapi: .venv/.ok
	@mkdir -p build && $(RUN) tools.openapi build/openapi.json
	@cmp -s build/openapi.json layers/sd3/sd3/api/openapi.json || \
	  { echo "layers/sd3/sd3/api/openapi.json is behind the models: make openapi"; exit 1; }

check-types: .venv/.ok $(TYPES)
	@mkdir -p build && $(RUN) tools.types build/sd3.d.ts
	@cmp -s build/sd3.d.ts clients/typescript/sd3.d.ts || \
	  { echo "clients/typescript/sd3.d.ts is behind openapi.json: make types"; exit 1; }

check-docs: .venv/.ok
	@rm -rf build/docs && mkdir -p build/docs && cp docs/*.md build/docs && $(RUN) tools.docs build/docs && $(RUN) benchmarks.cost_page build/docs
	@for page in docs/*.md; do cmp -s $$page build/$$page || \
	  { echo "$$page is behind the code: make docs"; exit 1; }; done

audit: .venv/.ok .tools/audit/.ok .tools/node/.ok ## Look up known vulnerabilities of all locked packages; UNASKED=warn to pass without a registry of advisories
	@$(RUN) tools.audit --unasked "$(or $(UNASKED),fail)" requirements/*.txt $(NPM_LOCKS:%=requirements/%/package-lock.json)

fmt: .venv/.ok ## Format the code and fix what can be fixed
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format .

lock: .venv/.ok .tools/node/.ok ## Write requirements/*.txt from *.in, and npm's lock; UPGRADE=--upgrade takes newer versions
	@for file in requirements/*.in; do $(COMPILE) $(UPGRADE) $$file -o $(LOCKS)/$$(basename $$file .in).txt || exit 1; done
	@for npm in $(NPM_LOCKS); do \
	  $(NPM) $(if $(UPGRADE),update,install) --prefix $(LOCKS)/$$npm --package-lock-only --loglevel=error > /dev/null || exit 1; done

openapi: .venv/.ok ## Write the document of GET /openapi.json, from the models
	@$(RUN) tools.openapi layers/sd3/sd3/api/openapi.json

types: openapi $(TYPES) ## Write the TypeScript types of the API, from the document
	@$(RUN) tools.types clients/typescript/sd3.d.ts

docs: .venv/.ok ## Write the tables of docs/ from the template, the errors, openapi.json, prices and recorded calls
	@$(RUN) tools.docs docs && $(RUN) benchmarks.cost_page docs

build: .venv/.ok .tools/sam/.ok .tools/audit/.ok $(PAGE) ## Build for AWS Lambda (python3.13, arm64) and check the result
	@SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam build
	@$(RUN) tools.artifact .aws-sam/build
	@mkdir -p build && cat requirements/runtime.txt requirements/c2pa.txt | PYTHONWARNINGS=ignore .tools/audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o build/sbom.json -
	@$(RUN) tools.bill_of_materials build/sbom.json requirements/npm/package-lock.json .aws-sam/build/DependenciesLayer/python .aws-sam/build/C2paLayer/python

deploy: $(if $(BUILT),.venv/.ok .tools/sam/.ok,build) ## Deploy to your AWS account: SETTINGS=prod, a section of samconfig.toml; SET REPLACE MONITOR ADOPT BUILT BUCKET ROLE YES
	@$(RUN) ops.deploy --settings "$(SETTINGS)" $(call option,--set,SET) $(call option,--replace,REPLACE) \
	  $(call option,--monitor,MONITOR) $(call option,--adopt,ADOPT) $(call option,--bucket,BUCKET) $(call option,--role,ROLE) $(if $(YES),--yes)

preflight: .venv/.ok ## Say what a deployment to your AWS account would lack: SETTINGS=prod; SET. Nothing is made
	@$(RUN) ops.preflight --settings "$(SETTINGS)" $(call option,--set,SET)

token: .venv/.ok ## Issue a token to a client: CLIENT=name; NAME EXPIRES SCOPES BUDGET PER_MINUTE MAX_IMAGES; STACK=name for a stack on AWS
	@$(RUN) ops.clients token "$(CLIENT)" --stack "$(STACK)" $(call option,--name,NAME) \
	  $(call option,--expires,EXPIRES) $(call option,--scopes,SCOPES) $(call option,--budget,BUDGET) \
	  $(call option,--per-minute,PER_MINUTE) $(call option,--max-images,MAX_IMAGES)

clients: .venv/.ok ## List the clients, their tokens by id, scopes and limits; STACK=name for a stack on AWS
	@$(RUN) ops.clients clients --stack "$(STACK)"

revoke: .venv/.ok ## End a client's tokens: CLIENT=name; TOKEN=id for one of them; STACK=name for a stack on AWS
	@$(RUN) ops.clients revoke "$(CLIENT)" --stack "$(STACK)" $(call option,--token,TOKEN)

export: .venv/.ok ## Write all that there is of a client to a zip file: CLIENT=name; OUT=folder; STACK=name for a stack on AWS
	@$(RUN) ops.export "$(CLIENT)" --stack "$(STACK)" $(call option,--out,OUT)

erase: .venv/.ok ## Show what there is of a client, or erase it: CLIENT=name SURE=name; OUT=folder; STACK=name for a stack on AWS
	@$(RUN) ops.erase "$(CLIENT)" --stack "$(STACK)" $(call option,--sure,SURE) $(call option,--out,OUT)

invoke: .venv/.ok ## Run one function: FUNCTION=jobs EVENT=events/health.json; STACK=name for a stack on AWS
	@$(RUN) ops.invoke "$(FUNCTION)" "$(EVENT)" --stack "$(STACK)"

redrive: .venv/.ok ## Queue the failed jobs of a period again: SINCE=2026-11-23T09:00 UNTIL=... (UTC); STACK=name for a stack on AWS
	@$(RUN) ops.redrive "$(SINCE)" "$(UNTIL)" --stack "$(STACK)"

webhooks: .venv/.ok ## Show what a client's webhooks were told, or tell them again: CLIENT=name; SINCE=2026-11-23T09:00; STATUS=failed; REPLAY=failed; STACK=name for a stack on AWS
	@$(RUN) ops.webhooks "$(CLIENT)" --stack "$(STACK)" $(call option,--since,SINCE) $(call option,--status,STATUS) $(call option,--replay,REPLAY)

smoke: .venv/.ok ## Generate images by every way in, look and clean up; costs three images; BUDGET=1.00 a day; STACK=name for a stack on AWS
	@$(RUN) ops.smoke --stack "$(STACK)" $(call option,--budget,BUDGET)

metrics: .venv/.ok ## Print the numbers of the dashboard and the alarms that ring: SINCE=3h; STACK=name for a stack on AWS
	@$(RUN) ops.metrics "$(or $(SINCE),3h)" --stack "$(STACK)"

bench: .venv/.ok .tools/sam/.ok .tools/ministack/.ok $(PAGE) ## Measure what the service adds to an upstream's time
	@$(RUN) benchmarks $(ARGS)

clean: ## Delete everything that make created, environments too
	@rm -rf .venv .tools .local .aws-sam build .coverage .*_cache .hypothesis $(NPM_LOCKS:%=requirements/%/node_modules) $(SWAGGER_UI)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Says what is set up, since that is silent, and how long it took. Each recipe is one shell, whose
# SECONDS count from its start.
SETUP_venv := the Python environment (once; about 20 s, by the network)
SETUP_sam := AWS SAM CLI
SETUP_ministack := MiniStack, the embedded AWS
SETUP_node := Node.js and npm
SETUP_requirements/npm := Swagger UI, the page at /docs
setting_up = echo "setting up $(or $(SETUP_$(1)),$(1)) ..."
set_up = touch $@ && echo "... done in $$SECONDS s"
# Without this there is a bare exit status and what pip, uv or npm said of it.
set_up_failed = { echo "$@ was not set up: what failed is above. It needs the package registries that pip, uv and npm are set to, and space on the disk. make runs it again." >&2; exit 1; }

.venv/.ok: requirements/bootstrap.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is not: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(call setting_up,venv); \
	{ $(PYTHON) -m venv --clear .venv && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt && \
	  $(UV) pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt && \
	  $(set_up); } || $(set_up_failed)

.tools/%/.ok: requirements/%.txt .venv/.ok
	@$(call setting_up,$*); \
	{ $(UV) venv -q --clear --python $(BIN)/python .tools/$* && \
	  $(UV) pip install -q --python .tools/$* --require-hashes -r $< && \
	  $(set_up); } || $(set_up_failed)

$(SIGNING): requirements/c2pa.txt layers/c2pa/Makefile .venv/.ok
	@echo "setting up c2pa"
	@rm -rf .tools/c2pa && $(MAKE) -s -f layers/c2pa/Makefile build-C2paLayer ARTIFACTS_DIR=.tools/c2pa \
	  LAYER_TARGET="--python $(BIN)/python" LAYER_PYTHON=$(BIN)/python
	@touch $@

# pip, not uv: only pip reads this machine's settings of where to find a build of torch.
.tools/engine/.ok: requirements/engine.txt .venv/.ok
	@echo "setting up engine: torch is large"
	@$(PYTHON) -m venv --clear .tools/engine
	@.tools/engine/bin/python -m pip install -q --disable-pip-version-check $(TORCH)
	@$(UV) pip install -q --python .tools/engine --require-hashes --no-deps -r $<
	@touch $@

# Any folder with a package-lock.json. Packages must not run scripts when they are installed.
%/node_modules/.ok: %/package-lock.json %/package.json .tools/node/.ok
	@$(call setting_up,$*); \
	{ $(NPM) ci --prefix $* --ignore-scripts --loglevel=error > /dev/null && $(set_up); } || $(set_up_failed)

$(PAGE): requirements/npm/node_modules/.ok
	@rm -rf $(SWAGGER_UI) && mkdir $(SWAGGER_UI)
	@cd requirements/npm/node_modules/swagger-ui-dist && \
	  cp LICENSE NOTICE swagger-ui-bundle.js.LICENSE.txt swagger-ui.css $(CURDIR)/$(SWAGGER_UI) && \
	  cp swagger-ui-bundle.js $(CURDIR)/$@
