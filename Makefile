# Everything the project needs is installed into .venv by `make install`; the other targets depend on it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
VLLM_STAMP := $(VLLM_VENV)/.installed

.PHONY: install install-vllm demo test test-vllm browser support lint bench clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: install
	$(BIN)/rushes demo

# Two workers at most: every one holds models of its own, and a third core would find little left to do.
test: install
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 2 --dist loadgroup

# vLLM and its own transformers in an environment of their own; the list is complete, so nothing is resolved. The .pth file
# makes torchvision importable in every process that vLLM starts.
install-vllm: $(VLLM_STAMP)

$(VLLM_STAMP): pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement constraints-vllm.txt
	$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	printf '%s\nimport torchvision_beside_cpu\n' "$(CURDIR)/tests_vllm/environment" > \
		"$$($(VLLM_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torchvision_beside_cpu.pth"
	touch $(VLLM_STAMP)

test-vllm: install-vllm
	$(VLLM_BIN)/python -m pytest -c tests_vllm/pytest.ini tests_vllm

# For the tests that open a page; without it they are skipped.
browser:
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
		command -v apt-get >/dev/null || { echo "install chromium and chromedriver by hand: no apt-get here" >&2; exit 1; }; \
		as_root=; [ "$$(id -u)" = 0 ] || as_root="$$(command -v sudo || true)"; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq chromium chromium-driver; \
	fi

# Writes what has just run into src/rushes/support.json and the README.
support: install
	$(BIN)/python -m pytest tests/test_every_combination.py tests/test_families_exact.py tests/test_support.py --write-support

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/rushes bench

clean:
	rm -rf $(VENV) $(VLLM_VENV) build demo-out bench-out show-out
