# Everything runs from a fresh machine with Python, pip and the package registry.
# `make demo` and `make test` set themselves up: uv in .uv/, the environment in .venv/.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.synvita-setup
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: setup demo test test-all lint format bench lock clean

setup: $(STAMP)

.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv uv

$(STAMP): .uv/bin/uv requirements.lock pyproject.toml
	test -x $(BIN)/python || .uv/bin/uv venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	.uv/bin/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: $(STAMP)
	HF_HUB_OFFLINE=1 $(BIN)/synvita demo --out demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2

# mypy checks an installed copy: only there the four folders are one package.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf .mypy_cache/installed build
	.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --target .mypy_cache/installed .
	cd .mypy_cache/installed && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../cache -p synvita_data
	rm -rf build

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	for script in benchmarks/*.py; do HF_HUB_OFFLINE=1 $(BIN)/python $$script || exit 1; done

# `bench` needs a compiler and is not pinned.
LOCKED_EXTRAS := decoders metrics score generate train ray leaderboard dev
# Pins for Python 3.11 to 3.13, without index addresses.
lock: .uv/bin/uv
	.uv/bin/uv pip compile pyproject.toml $(addprefix --extra ,$(LOCKED_EXTRAS)) --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--output-file requirements.lock

clean:
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .hypothesis build demo
