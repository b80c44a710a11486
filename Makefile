# Two commands: `make run` (the main job on the shipped sample) and `make test` (everything that is
# checked). Both set up .venv with the tested versions first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLE := workspaces/higgs_lfv
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test lint slow bench workspaces report bundles clean

run: $(VENV)/run.stamp
	$(BIN)/ddphf build $(SAMPLE)/analysis.yml -o build/higgs_lfv.json --force
	$(BIN)/ddphf fit build/higgs_lfv.json -o build/higgs_lfv.fit.json --plots build/figures --force

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Minutes long: stock pyhf on the full sample, long statistical studies.
slow: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q -m slow

# Measured on an otherwise idle machine; docs/performance.md says what was found.
bench: $(VENV)/test.stamp
	$(BIN)/python tests/benchmarks/bench_engine.py -o build/performance.json
	$(BIN)/python tests/benchmarks/bench_rank.py -o build/performance_rank.json

# The files that are shipped, made again; `git diff` then shows whether anything moved.
workspaces: $(VENV)/run.stamp
	for name in higgs_lfv higgs_lfv_window higgs_lfv_asymmetric; do \
	  $(BIN)/ddphf build workspaces/$$name/analysis.yml -o workspaces/$$name/workspace.json --force && \
	  $(BIN)/ddphf fit workspaces/$$name/workspace.json -o workspaces/$$name/fit.json --force || exit 1; \
	done

# docs/report.html and the figures of the README, from the asymmetric sample.
REPORTED := workspaces/higgs_lfv_asymmetric
report: $(VENV)/run.stamp
	mkdir -p build/report
	$(BIN)/ddphf rank $(REPORTED)/workspace.json --group 'lepton_id=lepid_*' -o build/report/rank.json --force
	$(BIN)/ddphf scan $(REPORTED)/workspace.json --parameter mu -o build/report/scan.json --force
	$(BIN)/ddphf limit $(REPORTED)/workspace.json -o build/report/limit.json --force
	$(BIN)/ddphf discover $(REPORTED)/workspace.json --null asymptotic,toys,importance --toys 2000 --seed 1 \
	  -o build/report/discover.json --force
	$(BIN)/ddphf report $(REPORTED)/workspace.json $(REPORTED)/fit.json build/report/rank.json \
	  build/report/scan.json build/report/limit.json build/report/discover.json -o docs/report.html --force
	$(BIN)/ddphf yields $(REPORTED)/workspace.json --fit $(REPORTED)/fit.json -o build/report/yields.json \
	  --plots build/report --force
	cp build/report/asymmetry.png build/report/z_map.png docs/

# The published bundles, made again from the shipped workspaces: about ten minutes, most of it stock
# optimizers on hundreds of parameters.
PUBLISHED := workspaces/published
bundles: $(VENV)/test.stamp
	mkdir -p build
	$(BIN)/ddphf fit workspaces/higgs_lfv_window/workspace.json --toys 5000 --seed 1 \
	  -o build/window.fit.json --force
	$(BIN)/ddphf toys workspaces/higgs_lfv_window/workspace.json --toys 5000 --seed 2 \
	  -o build/window.toys.npz --force
	$(BIN)/ddphf publish workspaces/higgs_lfv_window/analysis.yml build/window.fit.json \
	  build/window.toys.npz -o $(PUBLISHED)/higgs_lfv_window.tar.gz --force
	$(BIN)/ddphf publish workspaces/flat_reference/analysis.yml \
	  -o $(PUBLISHED)/flat_reference.tar.gz --force
	$(BIN)/ddphf publish workspaces/higgs_lfv_asymmetric/analysis.yml \
	  workspaces/higgs_lfv_asymmetric/fit.json \
	  -o $(PUBLISHED)/higgs_lfv_asymmetric.tar.gz --force

$(VENV)/run.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e ".[dev]"
	touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) build
