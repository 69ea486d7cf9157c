# Everything on a fresh machine: needs only Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test slow lint reference clean

demo: $(VENV)/installed  ## convert the small demo checkpoint once, then make a video from a prompt
	test -d $(DEMO)/wan-mini || $(BIN)/mlx-wan convert bench/mini/weights $(DEMO)/wan-mini --model wan-mini --dtype fp16
	$(BIN)/mlx-wan generate "slow blue aurora over a dark background" --model $(DEMO)/wan-mini --seed 7

test: $(VENV)/installed-dev  ## the whole unmarked test suite
	$(BIN)/python -m pytest -q

slow: $(VENV)/installed-dev  ## the tests that take longer: whole videos at their full length
	$(BIN)/python -m pytest -q -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy mlx_wan cli convert bench

reference: $(VENV)/installed-reference  ## live parity with torch, diffusers and transformers
	$(BIN)/python -m pytest -q -m reference

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mlx-wan needs Python 3.11 or newer; run: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev]'
	touch $@ $(VENV)/installed

$(VENV)/installed-reference: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev,reference]'
	touch $@
