# Databricks notebook source
# MAGIC %md
# MAGIC # 1. Understand the imbalance
# MAGIC How rare is the rare class, does its rate move, and what can the best possible model do about it?
# MAGIC Nothing is trained here.
# MAGIC
# MAGIC **To run it**: a dedicated (single user) cluster with an ML runtime of Spark 4.2 and fixed workers; this
# MAGIC repository as a Git folder, or its wheel as a library of the cluster.
# MAGIC Without `orders_table` the orders are generated, and their true probability of fraud is known.
# MAGIC With it (`catalog.schema.table`), name the columns in `conf/databricks.yaml` first.

# COMMAND ----------

dbutils.widgets.text("orders_table", "", "Orders (empty: generated)")
dbutils.widgets.text("rows", "100000", "Generated orders")
dbutils.widgets.text("prevalence", "0.01", "Share of fraud")
dbutils.widgets.text("config", "../conf/databricks.yaml", "Config")

# COMMAND ----------

import pandas as pd
from pyspark.sql import functions as F

import imbalance_spark as ims
from imbalance_spark.metrics import plots

# COMMAND ----------

# MAGIC %md
# MAGIC ## The orders

# COMMAND ----------

table = dbutils.widgets.get("orders_table")
rows, prevalence = int(dbutils.widgets.get("rows")), float(dbutils.widgets.get("prevalence"))
# Generated ones are kept in memory: the expressions that draw a row are long, and queries on them take minutes to plan.
orders = spark.table(table) if table else ims.generate_orders(spark, rows=rows, prevalence=prevalence, seed=7).cache()
config = ims.load_config(dbutils.widgets.get("config"), ims.RunConfig)

# COMMAND ----------

# MAGIC %md
# MAGIC ## How rare is the rare class?
# MAGIC Valid orders by class in each fold. Which fold an order falls into depends on its customer and the seed alone.

# COMMAND ----------

found = ims.inspect_orders(spark, config, orders)
folds = {**found.diagnosis.by_split, "all": found.diagnosis.counts}
display(
    pd.DataFrame(
        [
            {"fold": fold, "class 0": n[0], "class 1": n[1], "share of class 1": n[1] / (n[0] + n[1])}
            for fold, n in folds.items()
        ]
    )
)
print("\n".join(found.diagnosis.lines()))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Does the rate move?
# MAGIC If it does, split by time (`split.by: time`), and expect to retune the threshold; see notebook 3.

# COMMAND ----------

per_month = (
    found.valid.groupBy(F.date_trunc("month", config.orders.time).alias("month"))
    .agg(F.count("*").alias("orders"), F.avg("class_number").alias("rate"))
    .orderBy("month")
)
display(per_month)
months = per_month.toPandas()  # one row per month
drawn = months.plot(x="month", y="rate", marker="o", legend=False, figsize=(8, 3), ylim=(0, None))
drawn.set(title="Share of the rare class by month", xlabel="")
drawn.figure.tight_layout()
display(drawn.figure)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Where is it?

# COMMAND ----------

for column in config.orders.categorical:
    display(
        found.valid.groupBy(column)
        .agg(F.count("*").alias("orders"), F.sum("class_number").alias("rare"), F.avg("class_number").alias("rate"))
        .orderBy(F.desc("rate"))
        .limit(20)
    )

# COMMAND ----------

# MAGIC %md
# MAGIC ## The best possible model
# MAGIC Generated orders know the true probability that each is fraud; no model can rank better than that.
# MAGIC Read the two figures against each other: in the ROC curve the rare class looks easy, since false positives are
# MAGIC measured against all the honest orders. Precision tells what an analyst would see: how many alarms are right.

# COMMAND ----------

if "true_probability" in found.valid.columns:
    truth = ims.collect_score_counts(found.valid, score="true_probability", label="class_number").curve()
    curves = {"the truth": truth}
    display(plots.roc_figure(curves, "ROC of the true probability"))
    display(plots.precision_recall_figure(curves, "Precision and recall of the true probability"))
    display(plots.score_histogram_figure(truth, "True probabilities by class"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Accuracy is not the question, the threshold is
# MAGIC At a threshold of 0.5 even the truth misses much of the fraud, and accuracy does not notice: flagging nobody has
# MAGIC almost the same. Where a false negative costs ten false positives, the best threshold is 1 / 11.

# COMMAND ----------

if "true_probability" in found.valid.columns:
    matrices = {
        "flag nobody": ims.majority_baseline(truth),
        "truth at 0.5": truth.at(0.5),
        "truth at 1/11": truth.at(1 / 11),
    }
    columns = ["accuracy", "precision", "recall", "f1", "cost"]
    decisions = pd.DataFrame({name: ims.matrix_metrics(matrix, fn=10, fp=1) for name, matrix in matrices.items()})
    display(decisions.loc[columns].T.reset_index(names="decision"))
    display(plots.threshold_figure(truth, fn=10, fp=1, chosen={"0.5": 0.5, "a miss costs ten": 1 / 11}))

# COMMAND ----------

# MAGIC %md
# MAGIC **Next**: notebook 2 compares the ways to handle the imbalance, on held-out data.
