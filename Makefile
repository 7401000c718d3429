PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run test soak lint format docs bench bench-jax bench-gate bench-compare bench-watch bench-cluster clean

run: $(INSTALLED)  ## train the quickstart sweep and show its summary
	$(BIN)/gradlab run configs/quickstart.yaml

test: $(INSTALLED)  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

soak: $(INSTALLED)  ## what takes long: hundreds of kills, ten thousand trials, an hour of fuzzing (GRADLAB_FUZZ_SECONDS)
	-$(BIN)/pip install --quiet 'atheris>=3.0'  # not to be had for every Python: without it the fuzzer says it is skipped
	$(BIN)/python -m pytest -m soak -rs

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## the documentation as a site, build/site; whatever is wrong with it is an error
	$(BIN)/python -m website
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(INSTALLED)  ## how fast gradlab trains: against a plain PyTorch loop, the processor's peak and, if it is there, JAX
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed

bench-jax:  ## an environment of its own for JAX, for `make bench`
	$(PYTHON) -m venv build/jax
	build/jax/bin/pip install --quiet jax

bench-gate: $(INSTALLED)  ## can `gradlab check` be trusted? false alarms and planted bugs, counted
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.gate

bench-compare: $(INSTALLED)  ## `gradlab compare` against a bare DuckDB query; memory at 100,000 trials
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.compare

bench-watch: $(INSTALLED)  ## what `gradlab.watch` costs a training: time of a step, memory, files
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.watch

bench-cluster: $(INSTALLED)  ## a sweep on Ray: from one worker to two; what 100,000 trials leave in the driver's memory
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.cluster

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
