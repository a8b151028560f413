# Databricks notebook source
# MAGIC %md
# MAGIC # 4. Score
# MAGIC New orders, the champion, one pass: each order gets `probability`, `decision`, `threshold`, `model_version` and
# MAGIC `scored_at`. Run again on the same orders with the same model version, it adds nothing.
# MAGIC
# MAGIC Without `orders_table` new orders are generated. As their labels are known, the last cells can ask whether the
# MAGIC model keeps its promise.

# COMMAND ----------

dbutils.widgets.text("model", "models:/main.default.orders_fraud@champion", "Model")
dbutils.widgets.text("tracking_uri", "databricks", "MLflow")
dbutils.widgets.text("orders_table", "", "Orders (empty: generated)")
dbutils.widgets.text("rows", "50000", "Generated orders")
dbutils.widgets.text("prevalence", "0.01", "Share of fraud")
dbutils.widgets.text("output", "/Volumes/main/default/imbalance_spark", "Folder for tables")
dbutils.widgets.text("time", "ordered_at", "Time column")
dbutils.widgets.text("label", "is_fraud", "Label column, if known")

# COMMAND ----------

from datetime import UTC, datetime

import pandas as pd
from pyspark.sql import functions as F

import imbalance_spark as ims
from imbalance_spark.metrics import plots

# COMMAND ----------

# MAGIC %md
# MAGIC ## The model and the orders

# COMMAND ----------

output, table, tracking_uri = (dbutils.widgets.get(name) for name in ("output", "orders_table", "tracking_uri"))
model = ims.load_registered_model(tracking_uri, dbutils.widgets.get("model"))
if table:
    place = {"table": table}
else:
    rows, prevalence = int(dbutils.widgets.get("rows")), float(dbutils.widgets.get("prevalence"))
    new = ims.generate_orders(spark, rows=rows, prevalence=prevalence, seed=8, start="2025-01-01", days=28)
    place = {"path": f"{output}/new_orders_{rows}_{prevalence}"}
    new.write.format("delta").mode("ignore").save(place["path"])
orders = ims.read_batch(spark, model.label, **place)
print(f"{orders.description}; {model.label}, strategy {model.bundle.strategy}, {model.bundle.decides}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Score and append
# MAGIC The table's history knows each batch by the version of the orders and of the model. Orders with an infinite
# MAGIC number are set aside in `scored_quarantined`, with their reasons.

# COMMAND ----------

written = ims.score_batch(
    orders.frame,
    model.bundle,
    orders.batch,
    output=f"{output}/scored",
    quarantine=f"{output}/scored_quarantined",
    max_quarantined=0.01,
    model_version=model.version,
    scored_at=datetime.now(UTC),
)
print("Nothing added: scored before." if not written.is_new else f"{written.rows:,} orders, version {written.version}.")

# COMMAND ----------

# MAGIC %md
# MAGIC ## What the analysts get
# MAGIC Alerts a day, and the share of orders that they are.

# COMMAND ----------

added = spark.read.format("delta").load(f"{output}/scored").where(F.col("model_version") == model.version)
per_day = (
    added.groupBy(F.to_date(dbutils.widgets.get("time")).alias("day"))
    .agg(
        F.count("*").alias("orders"),
        F.sum("decision").alias("alerts"),
        F.avg("decision").alias("share flagged"),
        F.avg("probability").alias("mean probability"),
    )
    .orderBy("day")
)
display(per_day)
days = per_day.limit(400).toPandas()
drawn = days.plot(x="day", y="alerts", legend=False, figsize=(8, 3), ylim=(0, None), rot=30)
drawn.set(title="Alerts a day", xlabel="")
drawn.figure.tight_layout()
display(drawn.figure)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Does the model keep its promise?
# MAGIC Where labels are known: what test had said of this threshold, and what the new orders say.

# COMMAND ----------

label = dbutils.widgets.get("label")
if label in added.columns:
    now = ims.collect_score_counts(added, score="probability", label=label).curve()
    logged = ims.load_logged_model(tracking_uri, model.run_id)
    then = logged.held_out.target.test.curve(model.bundle.calibrator.apply)
    matrices = {"promised by test": then.at(model.bundle.threshold), "new orders": now.at(model.bundle.threshold)}
    display(
        pd.DataFrame(
            [
                {
                    "orders": name,
                    "rows": matrix.total,
                    "flagged": matrix.flagged / matrix.total,
                    "precision": matrix.precision,
                    "recall": matrix.recall,
                    "F1": matrix.f1,
                }
                for name, matrix in matrices.items()
            ]
        )
    )
    display(plots.confusion_figure(matrices["new orders"], f"New orders at {model.bundle.threshold:.4g}"))
    display(plots.reliability_figure({"promised by test": then, "new orders": now}, "Do probabilities come true?"))
    display(plots.score_histogram_figure(now, "Probabilities of the new orders by class"))

# COMMAND ----------

# MAGIC %md
# MAGIC **Next**: notebook 5 monitors the scored orders, weeks before their labels are known.
