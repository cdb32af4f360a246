# make book | test | bench | notebooks | clean. All a machine needs is Python 3.10 or newer, git and make.
PYTHON ?= python3
BIN := .venv/bin
# What the installed environment was made from: a newer file here means installing again.
STAMP := .venv/.installed
# One thread a process: the parallel test workers share the cores instead of fighting over them.
export OMP_NUM_THREADS ?= 1

.PHONY: book test bench notebooks clean

book: $(STAMP)
	$(BIN)/jupyter-book build .

test: $(STAMP)
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

bench: $(STAMP)
	$(BIN)/pip install --quiet --no-deps --requirement tests/benchmarks/requirements.txt
	$(BIN)/python -m tests.benchmarks

# Run every notebook and store its outputs, its widgets and its times in it (a progress bar would differ every time).
notebooks: $(STAMP)
	TQDM_DISABLE=1 $(BIN)/jupyter execute --inplace $(sort $(wildcard book/*.ipynb chapters/*.ipynb))

clean:
	rm -rf _build .venv .pytest_cache .hypothesis book/_ext/node_modules *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and f"Python 3.10 or newer is needed; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --requirement requirements.txt
	@touch $@
