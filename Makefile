# make demo    the main job on generated orders: local Spark, a Delta folder, MLflow on SQLite
# make test    all tests
# make check   ruff and mypy
# make zip     the package as a zip for spark-submit --py-files

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
CONFIG ?= conf/demo.yaml
ROWS ?= 300000
PREVALENCE ?= 0.005
DELTA = $(shell $(BIN)/python -c "from imbalance_spark.session import delta_package; print(delta_package())")
SUBMIT = PYTHONPATH=$(CURDIR) PYSPARK_PYTHON=$(BIN)/python $(BIN)/spark-submit --packages $(DELTA) \
	--driver-memory $(DRIVER_MEMORY) --conf spark.log.level=ERROR --conf spark.ui.showConsoleProgress=false
DRIVER_MEMORY ?= 4g

.PHONY: demo test check zip clean java

demo: java $(VENV)/installed
	@echo "== generate $(ROWS) orders at prevalence $(PREVALENCE) into output/demo_orders"
	@$(SUBMIT) jobs/generate_orders.py --rows $(ROWS) --prevalence $(PREVALENCE) --seed 7 --output output/demo_orders \
		2> >(grep -v -f .ci/spark-noise >&2)
	@echo "== compare the strategies: spark-submit jobs/train.py --config $(CONFIG)"
	@$(SUBMIT) jobs/train.py --config $(CONFIG) 2> >(grep -v -f .ci/spark-noise >&2)

test: java $(VENV)/installed
	@echo "== run the tests"
	$(BIN)/python -m pytest

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

zip: build/imbalance_spark.zip

build/imbalance_spark.zip: $(shell find imbalance_spark jobs -name '*.py')
	@mkdir -p build && rm -f $@
	@$(PYTHON) -m zipfile -c $@ imbalance_spark jobs
	@echo "== built $@"

java:
	@bash .ci/java

$(VENV)/installed: setup.py
	@echo "== set up $(VENV): pyspark, delta-spark, xgboost, mlflow and the test tools (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build output mlflow.db mlruns
