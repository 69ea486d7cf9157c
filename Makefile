# Everything on a fresh machine: needs only Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo pictures test slow lint reference browser clean

demo: $(VENV)/installed  ## make a video from a prompt with the embedded model
	$(BIN)/mlx-wan generate "slow blue aurora over a dark background" --model wan-mini --seed 7

# The commands are the README's; seeds only so that the pictures stay the same.
pictures: $(VENV)/installed  ## of the README and the model card; needs the weights that ship
	$(BIN)/python -m mlx_wan.bench.mini.sheet
	mkdir -p docs
	rm -rf docs/.work; mkdir docs/.work
	$(BIN)/mlx-wan generate "slow blue aurora over a dark background" --model wan-mini --seed 7 -o docs/.work/aurora.mp4
	$(BIN)/python -m mlx_wan.bench.mini.sheet --video docs/.work/aurora.mp4 --out docs/aurora.webp
	$(BIN)/mlx-wan linkedin "AI Workforce Transformation 2026" --model wan-mini --format wide --duration 6 --seed 3 -o docs/.work/wide.mp4
	$(BIN)/mlx-wan linkedin "AI Workforce Transformation 2026" --model wan-mini --format square --duration 6 --seed 5 -o docs/.work/square.mp4
	$(BIN)/mlx-wan youtube --hook "The AI skills premium is real" --content "AI-skilled workers earn 56% more in 2026" --cta "Connect with Arthur Dell" --duration 10 --model wan-mini --seed 4 -o docs/.work/shorts.mp4
	$(BIN)/python -m mlx_wan.bench.mini.sheet --frames-of docs/.work/wide.mp4 --frames-of docs/.work/square.mp4 --frames-of docs/.work/shorts.mp4 --out docs/formats.jpg
	rm -rf docs/.work

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

# Chromium comes from the system's packages; a Mac's Chrome does as well.
browser: $(VENV)/installed-browser  ## the pages, opened and used in a headless Chromium
	@for name in chromium chromium-browser google-chrome; do \
	  command -v $$name >/dev/null && exit 0; \
	done; \
	test -e "/Applications/Google Chrome.app" && exit 0; \
	test "$$(id -u)" = 0 || sudo=sudo; \
	$$sudo apt-get update -q; $$sudo apt-get install -y -q --no-install-recommends chromium || \
	  { echo "make browser needs Chromium: install it as this system installs programs" >&2; exit 1; }
	$(BIN)/python -m pytest -q -m browser

clean:
	rm -rf $(VENV) build dist *.egg-info

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

$(VENV)/installed-browser: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev,browser]'
	touch $@
