# Everything runs from a fresh machine with Python, pip and the package registry.
# `make demo` and `make test` set themselves up: uv in .uv/, the environment in .venv/.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.synvita-setup
export HF_HUB_DISABLE_TELEMETRY := 1
# Without compiled modules each of the tests' many processes compiles torch and transformers anew: half a minute a process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo leaderboard test test-all test-oldest stress campaign lint types format bench lock lock-oldest clean

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

# The page with what can be shown honestly here; the released scores of SSv2-Temporal where SSV2_TEMPORAL holds them.
SSV2_TEMPORAL ?= ../shared/data/ssv2-temporal
leaderboard: $(STAMP)
	HF_HUB_OFFLINE=1 $(BIN)/python examples/leaderboard_page.py leaderboard $(SSV2_TEMPORAL)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# The oldest versions that pyproject.toml promises, in an environment of their own. The tests of what stands on them
# (torch, transformers, datasets, huggingface_hub), so that .ci/run stays short, without benchmarks and the arithmetic on
# all real rows, and of networks and pipelines a module each; all others: make test-oldest OLDEST=tests
OLDEST ?= $(addprefix tests/,models scoring testing_models training builders/generators/test_pipeline_generator.py \
	builders/vqascore/test_vqa_scorers.py mplug_owl/test_owl_model.py mplug_owl/test_owl_stages.py dataset/test_dataset.py hub/test_hub.py) \
	$(addprefix --ignore=tests/,models/test_questions_benchmark.py training/test_training_step_benchmark.py \
	training/test_training_data_real.py training/test_handed_on.py training/test_overfit.py)
OLD_STAMP := .venv-oldest/.synvita-setup
$(OLD_STAMP): .uv/bin/uv requirements-oldest.txt pyproject.toml
	test -x .venv-oldest/bin/python || .uv/bin/uv venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv-oldest
	.uv/bin/uv pip install --quiet --python .venv-oldest/bin/python --requirement requirements-oldest.txt
	.uv/bin/uv pip install --quiet --python .venv-oldest/bin/python --no-deps --editable .
	touch $@

# Kills do not depend on versions.
test-oldest: $(OLD_STAMP)
	.venv-oldest/bin/python -m pytest -n 2 --dist loadgroup -m "not slow" -k "not kill" $(OLDEST)

# Tests that kill, wait for or count processes, again and again beside a busy loop for each core.
TIMES ?= 20
stress: $(STAMP)
	$(BIN)/python tests/stress.py $(TIMES)

# Fuzzing of readers, kills of commands, full disks (docs/development.md). Another seed each time unless SEED says one.
MINUTES ?= 10
campaign: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m campaigns --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT))

lint: $(STAMP) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy checks an installed copy: only there the four folders are one package.
types: $(STAMP)
	rm -rf .mypy_cache/installed build
	.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --target .mypy_cache/installed .
	cd .mypy_cache/installed && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../cache -p synvita_data
	rm -rf build

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	for script in $(filter-out benchmarks/measure.py,$(wildcard benchmarks/*.py)); do HF_HUB_OFFLINE=1 $(BIN)/python $$script || exit 1; done

# `bench` needs a compiler and is not pinned.
LOCKED_EXTRAS := decoders metrics score generate train ray leaderboard dev
# Pins for Python 3.11 to 3.13, without index addresses.
lock: .uv/bin/uv
	.uv/bin/uv pip compile pyproject.toml $(addprefix --extra ,$(LOCKED_EXTRAS)) --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--output-file requirements.lock

# The oldest versions that go together, for the oldest Python, of what the tests need. Without Ray and gradio; and without
# torchcodec, which datasets 5.0 imports where it sees it, whether FFmpeg is there or not.
lock-oldest: .uv/bin/uv
	.uv/bin/uv pip compile pyproject.toml $(addprefix --extra ,$(filter-out ray leaderboard decoders,$(LOCKED_EXTRAS))) \
		--python-version 3.11 --resolution lowest-direct --upgrade --no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make lock-oldest" --output-file requirements-oldest.txt

clean:
	rm -rf .venv .venv-oldest .uv .mypy_cache .pytest_cache .ruff_cache .hypothesis build demo leaderboard
