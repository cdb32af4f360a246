# make book | offline | pdf | teacher | picture | links | check | test | test-all | colab | fuzz | notebook N=07 | notebooks
# | fork URL=… | bench | lock | clean. All a machine needs is Python 3.10 or newer, git and make.
PYTHON ?= python3
BIN := .venv/bin
# What the installed environment was made from: a newer file here means installing again.
STAMP := .venv/.installed
# One thread a process: the parallel test workers share the cores instead of fighting over them.
export OMP_NUM_THREADS ?= 1
WORKERS := --numprocesses auto --maxprocesses 4
PARALLEL := $(WORKERS) --dist loadfile
# make LOCK=requirements.lock installs the very versions that the tests last ran with (Linux, Python 3.11).
LOCK ?=
# Where chance begins in `make fuzz`: another time, another seed.
SEED := $(or $(SEED),$(shell date +%s))

.PHONY: book offline pdf teacher picture links check test test-all colab fuzz style notebook notebooks fork bench lock clean

book: $(STAMP)
	$(BIN)/jupyter-book build .

# The book as one file: unpack it anywhere, without a network, and open html/index.html.
offline: book
	cd _build && ../$(BIN)/python -m zipfile -c course.zip html

# The book on paper: one PDF with bookmarks, sliders as strips of frames, solutions at the end. Chromium prints it.
pdf: book
	$(BIN)/python -m book._ext.paper

# Slides, handouts, and the book once more, with the answers, which no other command reads: open _build/teacher/index.html.
teacher: $(STAMP)
	$(BIN)/python -m book._ext.teacher

# The README's picture, light and dark, is a photograph of the first page.
picture: book
	$(BIN)/python -m tests.book.picture

# Asks every address that the book names, which needs a network: what is gone is named, and at the end the count.
links: $(STAMP)
	$(BIN)/jupyter-book build . --builder linkcheck --path-output build/links

# What one runs before every commit: all that is not slow, in about two minutes.
check: $(STAMP) style
	$(BIN)/pytest $(PARALLEL) -m "not slow"
	@echo 'Left out: the cells of the notebooks, the book in a browser, and the tests marked slow. `make test` runs them.'

# Everything but what is the same in every chapter and on every page, of which it takes a sample (conftest.py).
test: $(STAMP) style
	$(BIN)/pytest $(PARALLEL) -m "not thorough"
	@echo 'Left out: cells and pages of the other chapters, and the tests marked thorough. `make test-all` runs them all.'

# Every cell of every chapter, every page, every answer: what a push to main must pass.
test-all: $(STAMP) style
	$(BIN)/pytest $(PARALLEL)

# Every chapter as Colab runs it: its versions, an empty folder, no package. Half an hour; the tests try the parts of it.
colab: $(STAMP)
	$(BIN)/python -m tests.colab $(if $(N),$(or $(wildcard chapters/$(N)_*.ipynb),$(error No chapter has the number $(N))))

# The properties that every attack keeps, tried a hundred times as often as in `make test`, by chance: takes hours.
fuzz: $(STAMP)
	@echo 'Again with the same chance: make fuzz SEED=$(SEED)'
	$(BIN)/pytest $(WORKERS) tests/properties --hypothesis-profile=fuzz --hypothesis-seed=$(SEED)

style: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

# Run one chapter, or every notebook, and store its outputs, its widgets and its processor time in it.
notebook: $(STAMP)
	$(if $(wildcard chapters/$(N)_*.ipynb),,$(error Say which chapter by its number: make notebook N=07))
	$(BIN)/python -m tests.notebooks.execute $(wildcard chapters/$(N)_*.ipynb)

notebooks: $(STAMP)
	$(BIN)/python -m tests.notebooks.execute $(sort $(wildcard book/*.ipynb chapters/*.ipynb))

# A fork's notebooks install the fork: write its address into them.
fork: $(STAMP)
	$(BIN)/python -m tests.notebooks.fork $(URL)

bench: $(STAMP)
	$(BIN)/pip install --quiet --no-deps --requirement tests/benchmarks/requirements.txt
	$(BIN)/python -m tests.benchmarks

# Of an environment that `make` has just made, and with which `make test` passes: all versions, the requirements' own too.
lock: $(STAMP)
	$(BIN)/pip freeze --disable-pip-version-check --exclude-editable > requirements.lock

clean:
	rm -rf _build build .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis book/_ext/node_modules *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and f"Python 3.10 or newer is needed; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --requirement requirements.txt $(addprefix --constraint ,$(LOCK))
	@touch $@
