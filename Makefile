# Two commands: `make run` (the main job on the shipped sample) and `make test` (everything that is
# checked). Both set up .venv with the tested versions first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLE := workspaces/higgs_lfv
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test test-fast test-slow test-matrix coverage lint docs dist bench bench-compare \
  bench-record workspaces report bundles lock licences clean

run: $(VENV)/run.stamp
	$(BIN)/ddphf build $(SAMPLE)/analysis.yml -o build/higgs_lfv.json --force
	$(BIN)/ddphf fit build/higgs_lfv.json -o build/higgs_lfv.fit.json --plots build/figures --force

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

# While editing: what compiles little. CONTRIBUTING.md says how long each layer takes.
test-fast: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m fast tests

# Minutes long each: stock pyhf on the full sample, long statistical studies, large zoos of models.
# Half an hour of processor time may be hours on a busy machine.
test-slow: $(VENV)/test.stamp
	$(BIN)/python -m pytest -v -n 2 --dist loadgroup -o faulthandler_timeout=14400 -m slow tests

# Every Python that is found, the oldest allowed and the newest versions, the wheel elsewhere.
test-matrix:
	$(PYTHON) tests/tools/matrix.py

# Of the engine by its own tests; the floor is in pyproject.toml.
ENGINE := cells closed_form direct factorization fallback general_newton likelihood_compiled \
  likelihood_fits schema shared_points suspicious zero_rates zoo
coverage: $(VENV)/test.stamp
	mkdir -p build
	$(BIN)/coverage run -m pytest -q -m "not slow" $(ENGINE:%=tests/test_%.py)
	$(BIN)/coverage report

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --any-exprs-report build/typed
	$(BIN)/python tests/tools/typed_share.py build/typed/any-exprs.txt

# The site, in build/site/html: pages laid out, tutorials run, figures drawn, all links checked.
SITE := build/site
docs: $(VENV)/docs.stamp
	$(BIN)/python docs/site/stage.py $(SITE)/source
	$(BIN)/python docs/site/gallery.py $(SITE)/source
	$(BIN)/python docs/site/tutorials.py $(SITE)/source/tutorials
	rm -rf $(SITE)/html
	PYTHONPATH=. $(BIN)/sphinx-build -q -W --keep-going -n -j 2 -c docs/site $(SITE)/source $(SITE)/html
	$(BIN)/python docs/site/check_links.py $(SITE)/html

# Measured on an otherwise idle machine; docs/performance.md says what was found.
bench: $(VENV)/test.stamp
	$(BIN)/python tests/benchmarks/bench_engine.py -o build/performance.json
	$(BIN)/python tests/benchmarks/bench_rank.py -o build/performance_rank.json
	$(BIN)/python tests/benchmarks/bench_cold.py -o build/performance_cold.json
	$(BIN)/python tests/benchmarks/bench_search.py -o build/performance_search.json
	$(BIN)/python tests/benchmarks/bench_masses.py workspaces/zprime_scan/scan.yml -o build/performance_masses.json
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_flips.py -o build/performance_flips.json
	$(BIN)/python tests/benchmarks/bench_cost.py -o build/performance_cost.json --figure docs/cost.png

# A wheel and a source distribution, and both used in clean environments of every Python found.
dist: $(VENV)/test.stamp
	$(BIN)/python tests/tools/dist.py dist

# The results of the last `make bench` against the recorded ones; 1 where a time is slower than the
# noise explains. `make bench-record` makes them the recorded ones.
MEASURED := build/performance.json build/performance_rank.json build/performance_cold.json \
  build/performance_search.json build/performance_flips.json
COMPARE := $(BIN)/python tests/benchmarks/compare.py docs/performance.json $(MEASURED)
bench-compare: $(VENV)/test.stamp
	test -f $(lastword $(MEASURED)) || $(MAKE) bench
	$(COMPARE)

bench-record: $(VENV)/test.stamp
	$(COMPARE) --record

# The files that are shipped, made again; `git diff` then shows whether anything moved.
workspaces: $(VENV)/run.stamp
	$(BIN)/ddphf build workspaces/tau_ratio/ratio.yml -o workspaces/tau_ratio/workspace.json --force
	$(BIN)/ddphf fit workspaces/tau_ratio/workspace.json -o workspaces/tau_ratio/fit.json --force
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

# The published bundles with every kind of record, made again from the shipped workspaces: about
# fifteen minutes.
PUBLISHED := workspaces/published
RANKED_higgs_lfv_window := --parameters 'symmetric_shape*' --top 20
bundles: $(VENV)/test.stamp ratio-tau_ratio scan-zprime_scan \
  $(addprefix bundle-,flat_reference higgs_lfv_window higgs_lfv_asymmetric)

# A measurement has no null: no toys of it, no significance.
ratio-%: MADE = build/published/$*
ratio-%: $(VENV)/test.stamp
	mkdir -p $(MADE)
	$(BIN)/ddphf build workspaces/$*/ratio.yml -o $(MADE)/workspace.json --force
	$(BIN)/ddphf fit $(MADE)/workspace.json -o $(MADE)/fit.json --force
	$(BIN)/ddphf rank $(MADE)/workspace.json -o $(MADE)/rank.json --force
	$(BIN)/ddphf scan $(MADE)/workspace.json --parameter R_mu -o $(MADE)/scan.json --force
	$(BIN)/ddphf limit $(MADE)/workspace.json --interval --method asymptotic,toys --toys 1000 \
	  --seed 4 -o $(MADE)/limit.json --force
	$(BIN)/ddphf publish workspaces/$*/ratio.yml $(MADE)/fit.json $(MADE)/rank.json \
	  $(MADE)/scan.json $(MADE)/limit.json -o $(PUBLISHED)/$*.tar.gz --force

# A mass scan makes a bundle of all its hypotheses.
scan-%: MADE = build/published/$*
scan-%: $(VENV)/test.stamp
	mkdir -p $(MADE)
	$(BIN)/ddphf masses workspaces/$*/scan.yml --cl 0.9,0.95 --method asymptotic,toys --toys 1000 \
	  --global-toys 300 --seed 5 -o $(MADE)/masses.json --force
	$(BIN)/ddphf publish workspaces/$*/scan.yml $(MADE)/masses.json -o $(PUBLISHED)/$*.tar.gz --force

# The flat reference has nothing to rank: all its parameters but mu are the shared background.
bundle-%: MADE = build/published/$*
bundle-%: RANK = $(if $(filter flat_reference,$*),,$(MADE)/rank.json)
bundle-%: $(VENV)/test.stamp
	mkdir -p $(MADE)
	$(BIN)/ddphf build workspaces/$*/analysis.yml -o $(MADE)/workspace.json --force
	$(BIN)/ddphf fit $(MADE)/workspace.json --toys 2000 --seed 1 -o $(MADE)/fit.json --force
	$(BIN)/ddphf toys $(MADE)/workspace.json --toys 2000 --seed 2 -o $(MADE)/toys.npz --force
	$(BIN)/ddphf discover $(MADE)/workspace.json --null asymptotic,toys,importance --toys 2000 \
	  --seed 3 -o $(MADE)/discover.json --force
	$(BIN)/ddphf limit $(MADE)/workspace.json --interval --method asymptotic,toys --toys 1000 \
	  --seed 4 -o $(MADE)/limit.json --force
	$(if $(RANK),$(BIN)/ddphf rank $(MADE)/workspace.json $(RANKED_$*) -o $(RANK) --force)
	$(BIN)/ddphf publish workspaces/$*/analysis.yml $(MADE)/fit.json $(MADE)/toys.npz \
	  $(MADE)/discover.json $(MADE)/limit.json $(RANK) -o $(PUBLISHED)/$*.tar.gz --force

# What `ddphf verify --level 4` installs: the versions of constraints.txt with their checksums, for
# every platform. To be made again whenever constraints.txt moves numpy, scipy, pyhf or their needs.
LOCK := ddphf/publish/stock.lock
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv
	printf 'numpy\npyhf\nscipy\n' | build/lock/bin/uv pip compile - --quiet -c constraints.txt \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url -o build/stock.lock
	{ grep '^#' $(LOCK); grep -v '^#' build/stock.lock; } > build/lock/new && cp build/lock/new $(LOCK)

$(VENV)/run.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e ".[dev]"
	touch $@ $(VENV)/run.stamp

$(VENV)/docs.stamp: $(VENV)/test.stamp
	$(PIP_INSTALL) -e ".[docs]"
	touch $@

# Of every version that is tested, the licence that its files state.
licences: $(VENV)/docs.stamp
	$(BIN)/python docs/site/licences.py docs/licences.md

clean:
	rm -rf $(VENV) build
