# Each target creates .venv and installs what it needs.
VENV := .venv
PY := $(VENV)/bin/python
LAUNCH := $(VENV)/bin/accelerate launch --config_file accelerate_config.yaml

# uv takes a minute where pip takes four; if uv fails, for example because it cannot reach the index, pip is used. Both
# compile to bytecode, without which every program start takes seconds longer.
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check uv && \
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(PY) -e "$(1)" || \
	$(PY) -m pip install --quiet --disable-pip-version-check -e "$(1)"

.PHONY: demo docs reference test test-all test-fast test-lowest fuzz check mlflow clean

demo: $(VENV)/sample ## train on this machine, and compare with interpolation and the networks of the package, in minutes
	$(VENV)/bin/srgan pack sample --scale 4 --out shards/sample-x4
	$(LAUNCH) train.py demo-x4
	@echo "Open runs/demo-x4/comparison.png. To compare runs: make mlflow"

mlflow: $(VENV)/sample ## open the MLflow UI with the runs in this folder
	$(VENV)/bin/srgan mlflow

test: $(VENV)/dev ## run the tests, without network or GPU, in under ten minutes
	$(PY) -m pytest -n logical --maxprocesses 4 --dist worksteal -m "not extended"

test-all: $(VENV)/dev ## run the same tests and more cases of some rules
	$(PY) -m pytest -n logical --maxprocesses 4 --dist worksteal

test-fast: $(VENV)/dev ## run the tests that are not marked slow, in about a minute
	$(PY) -m pytest -n logical --maxprocesses 4 --dist worksteal -m "not slow and not extended"

test-lowest: ## run all tests with the lowest versions that pyproject.toml allows, in a separate environment
	python3 -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)-lowest/bin/uv pip install --quiet --compile-bytecode --resolution lowest-direct --python $(VENV)-lowest/bin/python -e ".[dev]"
	$(VENV)-lowest/bin/python -m pytest -n logical --maxprocesses 4 --dist worksteal

docs: $(VENV)/docs ## build the documentation's site in build/site, and fail on a broken link
	$(PY) -m docs.generator
	$(PY) -m docs.generator.stage build/pages
	$(VENV)/bin/zensical build --clean --strict
	@echo "Open build/site/index.html"

reference: $(VENV)/dev ## write the reference pages of presets, configuration and commands again
	$(PY) -m docs.generator

fuzz: $(VENV)/dev ## try thousands of corrupt and malicious files on every parser, and print what happened
	$(PY) -m tests.hostile.fuzz --inputs 500 $(FUZZ)

check: $(VENV)/dev ## check formatting, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright

$(VENV)/sample: pyproject.toml
	python3 -m venv $(VENV)
	$(call INSTALL,.[sample])
	@touch $@

$(VENV)/dev: pyproject.toml
	python3 -m venv $(VENV)
	$(call INSTALL,.[dev])
	@touch $@ $(VENV)/sample

$(VENV)/docs: pyproject.toml
	python3 -m venv $(VENV)
	$(call INSTALL,.[docs])
	@touch $@

clean: ## remove what the other targets created, except runs and shards
	rm -rf $(VENV) $(VENV)-lowest *.egg-info build .cache
