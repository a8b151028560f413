# Databricks notebook source
# MAGIC %md
# MAGIC # 5. Monitor
# MAGIC Every day after the first: does the champion still work? Labels come weeks late, calibrated probabilities are
# MAGIC there at once. What they expect is estimated today, and compared with labels once these are known.
# MAGIC
# MAGIC Each batch of scored orders is counted once, and each day is one MLflow run, however often this runs.
# MAGIC `jobs/monitor.py` does the same as a daily job, and ends with exit code 4 where an alarm fires.

# COMMAND ----------

dbutils.widgets.text("output", "/Volumes/main/default/imbalance_spark", "Folder for tables")
dbutils.widgets.text("labels", "", "Known outcomes, a Delta path (empty: those of the scored orders)")
dbutils.widgets.text("label_delay_days", "7", "Days until labels are complete")
dbutils.widgets.text("miss_cost", "25", "Cost of a missed fraud")
dbutils.widgets.text("alarm_cost", "1", "Cost of a false positive")
dbutils.widgets.text("budget", "40", "Alerts that can be reviewed a day")
dbutils.widgets.text("tracking_uri", "databricks", "MLflow")
dbutils.widgets.text("experiment", "/Shared/imbalance_spark_monitor", "Experiment")
dbutils.widgets.text("registered_model", "main.default.orders_fraud", "Registered model")
dbutils.widgets.text("config", "../conf/databricks.yaml", "Config")

# COMMAND ----------

import pandas as pd

import imbalance_spark as ims

# COMMAND ----------

# MAGIC %md
# MAGIC ## What is monitored
# MAGIC The scored orders of notebook 4. Where these know their labels, as generated orders do, they stand in for the
# MAGIC table of outcomes, in which a fraud team collects what it learns.

# COMMAND ----------

output, labels = dbutils.widgets.get("output"), dbutils.widgets.get("labels")
names = ("label_delay_days", "budget")
settings = [f"monitoring={{scored: '{output}/scored', output: '{output}/monitoring'}}"]
settings += [f"monitoring.{name}={dbutils.widgets.get(name)}" for name in names]
settings += [f"tracking.{name}='{dbutils.widgets.get(name)}'" for name in ("experiment", "registered_model")]
settings += [f"tracking.uri='{dbutils.widgets.get('tracking_uri')}'"]
config = ims.load_config(dbutils.widgets.get("config"), ims.RunConfig, settings)

scored = spark.read.format("delta").load(f"{output}/scored")
if not labels and config.orders.label in scored.columns:
    labels = f"{output}/outcomes"
    known = scored.select(*config.orders.key, config.orders.label).dropDuplicates([*config.orders.key])
    known.write.format("delta").mode("overwrite").save(labels)
monitoring = config.monitoring.model_copy(update={"labels": labels or None})

# COMMAND ----------

# MAGIC %md
# MAGIC ## The last day
# MAGIC Counts new batches, estimates, compares, and logs one run with `monitor.html`.

# COMMAND ----------

cost = ims.MinCost(fn=float(dbutils.widgets.get("miss_cost")), fp=float(dbutils.widgets.get("alarm_cost")))
task = ims.MonitorTask(
    name=config.name, orders=config.orders, monitoring=monitoring, objectives=[cost], tracking=config.tracking
)
report = ims.monitor(spark, task)
print("\n".join(report.conclusions()))

# COMMAND ----------

displayHTML(ims.monitor_page(report))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Expected, and what came true
# MAGIC Expected of the last days, whose labels are not known yet; then what labels say of the days before, beside what
# MAGIC was expected of them. An interval of 95 % should hold what labels say on nineteen of twenty days.

# COMMAND ----------

served = report.served
rows = [("expected, last days", name, found.value, found.low, found.high) for name, found in served.best.items()]
if served.labelled is not None:
    estimates = served.labelled.unmoved.items()
    rows += [("expected, days with labels", name, found.value, found.low, found.high) for name, found in estimates]
    rows += [("labels", name, value, None, None) for name, value in served.labelled.found.items()]
display(pd.DataFrame(rows, columns=["", "metric", "value", "low", "high"]))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Alerts a day, and the week ahead
# MAGIC The forecast knows the weekdays; the dotted line is what can be reviewed.

# COMMAND ----------

past = pd.DataFrame(report.alerts, columns=["day", "alerts"])
ahead = pd.DataFrame([{"day": one.day, **vars(one.alerts)} for one in report.forecast])
drawn = past.plot(x="day", y="alerts", figsize=(8, 3), ylim=(0, None), rot=30, label="alerts", color="tab:blue")
if len(ahead):
    ahead.plot(x="day", y="value", ax=drawn, style="--", label="forecast", color="tab:orange")
    drawn.fill_between(ahead["day"], ahead["low"], ahead["high"], alpha=0.2, color="tab:orange")
drawn.axhline(monitoring.budget, linestyle=":", color="black")
drawn.set(title="Alerts a day", xlabel="")
drawn.figure.tight_layout()
display(drawn.figure)

# COMMAND ----------

# MAGIC %md
# MAGIC ## What drifted
# MAGIC Features and segments against the first two weeks, the top of the scores against validation. A q-value up to
# MAGIC 0.05 is more than chance; first comes what may move the scores most.

# COMMAND ----------

display(
    pd.DataFrame(
        [
            {"column": one.name, "kind": one.kind, "PSI": one.psi, "q-value": one.q_value, "importance": one.importance}
            for one in report.drift
        ]
    )
)

# COMMAND ----------

# MAGIC %md
# MAGIC **Next**: where the base rate moved, the report has the `retune` command for it, and notebook 3 has the same
# MAGIC choice by hand. Where labels contradict the probabilities, train again with notebook 2.
