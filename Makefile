# Everything from nothing: `make demo` and `make test` create $(VENV), install into it, and run.
# PYTHON=python3.12 chooses the interpreter that makes the environment; UV_TORCH_BACKEND=cpu installs torch without CUDA (2 GB instead of 6).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MIN    := $(shell sed -n 's/^min_python *= *//p' settings.ini)
ROOMS   = $(sort $(wildcard nbs/[0-9]*.ipynb)) nbs/index.ipynb
SLOW    = $(sort $(shell grep -rlE '"\#\| *slow' nbs --include='*.ipynb'))
DEMOS   = 01_transfer 03_audit modality_imbalance cloud_content inspect_samples map_a_scene label_a_region

# A relative IRM_NB_DATA is meant from here; notebooks run in folders of their own.
ifdef IRM_NB_DATA
export IRM_NB_DATA := $(abspath $(IRM_NB_DATA))
endif

.DEFAULT_GOAL := help
.PHONY: help demo demo-all test test-slow lab report bench notebooks outputs docs pictures sync clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "make %-10s %s\n", $$1, $$2}'

$(STAMP): settings.ini setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(MIN)".split("."))))' || { echo "irm_nb needs Python $(MIN) or newer, and $(PYTHON) is not. Name one: make PYTHON=python3.12 <target>" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make an environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check uv
	@uv=$$(command -v uv || echo $(BIN)/uv); $$uv pip install --compile-bytecode --python $(BIN)/python -e '.[dev]'
	@touch $@

demo: $(STAMP) ## train with and without IRM on the embedded world; leaves demo/01_transfer.{ipynb,html}
	@$(BIN)/python tools/run_notebook.py nbs/analysis/01_transfer.ipynb --out demo/01_transfer.ipynb --html demo/01_transfer.html

# What is trained stays in the store: stopped and typed again, it goes on, and a network that two notebooks need is trained once.
demo-all: $(STAMP) ## every analysis that needs no data, on the embedded world; leaves them in demo/
	@unset IRM_NB_DATA; for n in $(DEMOS); do \
	$(BIN)/python tools/run_notebook.py nbs/analysis/$$n.ipynb --out demo/$$n.ipynb --html demo/$$n.html || exit; done

# Both halves always run. One thread for each of nbdev_test's two processes, and a store that is thrown away.
test: $(STAMP) ## every notebook, then the checks and tests in tests/
	@export IRM_NB_STORE=$$(mktemp -d); trap 'rm -rf "$$IRM_NB_STORE"' EXIT; failed=; \
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2 --do_print --timing || failed=yes; \
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests || { [ -z "$$failed" ] || echo "nbdev_test failed as well: see above" >&2; exit 1; }; \
	[ -z "$$failed" ] || { echo "nbdev_test failed: see above" >&2; exit 1; }

# One notebook at a time, each with a store that is thrown away when it ends; all are run, then the failures named.
test-slow: $(STAMP) ## the notebooks with cells that take minutes, these cells included
	@failed=; for n in $(SLOW); do \
	export IRM_NB_STORE=$$(mktemp -d); trap 'rm -rf "$$IRM_NB_STORE"' EXIT; \
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/nbdev_test --path $$n --flags slow --n_workers 1 --do_print --timing || failed="$$failed $$n"; \
	rm -rf "$$IRM_NB_STORE"; done; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

lab: $(STAMP) ## JupyterLab on nbs/index.ipynb, which says what to read in what order
	@$(BIN)/jupyter lab nbs/index.ipynb

# RESULTS=runs/grid names another folder of results. A report that was edited by hand is not replaced.
report: $(STAMP) ## the results in the store as report/report.{ipynb,html,pdf}
	@$(BIN)/irm_run report $(if $(RESULTS),--results "$(RESULTS)")

bench: $(STAMP) ## the benchmark's ratios, measured on this machine
	@$(BIN)/irm_run bench --install

notebooks: $(STAMP) ## execute the library's notebooks in place, on the embedded world alone, and keep their outputs
	@export IRM_NB_STORE=$$(mktemp -d); trap 'rm -rf "$$IRM_NB_STORE"' EXIT; unset IRM_NB_DATA; \
	$(BIN)/python tools/run_notebook.py --inplace $(ROOMS) && $(BIN)/nbdev_clean

# On the embedded world alone, as `notebooks`. What needs data of its own or hours says by which version it was made, and is left.
outputs: $(STAMP) ## the notebooks whose outputs are older than their code, executed again in place
	@old=$$($(BIN)/python tools/check.py --old); [ -n "$$old" ] || { echo "every output is that of the code that is there"; exit 0; }; \
	export IRM_NB_STORE=$$(mktemp -d); trap 'rm -rf "$$IRM_NB_STORE"' EXIT; unset IRM_NB_DATA; \
	$(BIN)/python tools/run_notebook.py --inplace $$old && $(BIN)/nbdev_clean

docs: $(STAMP) ## the notebooks as a site with search, in _docs; nothing is executed
	@uv=$$(command -v uv || echo $(BIN)/uv); $$uv pip install --quiet --python $(BIN)/python -e '.[docs]'
	@$(BIN)/python tools/make_docs.py

pictures: $(STAMP) ## the widgets in a browser, for nbs/images: needs Chromium
	@unset IRM_NB_DATA; IRM_NB_PICTURES=1 $(BIN)/python -m pytest -q tests/test_browser.py

sync: $(STAMP) ## after an edit: export the library, clean the notebooks, make README.md and environment.yml
	@$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python tools/make_readme.py && $(BIN)/python tools/check.py environment --write

clean: ## remove what the other targets left (not $(VENV), not the store of results)
	@rm -rf demo report bench artefacts _docs build dist .pytest_cache .ruff_cache .hypothesis; find nbs irm_nb tools tests -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
