# Databricks notebook source
# MAGIC %md
# MAGIC # 2. Compare the strategies
# MAGIC Weights, resampling, losses: which helps on held-out data, and is it more than chance?
# MAGIC Each strategy is fitted on training rows; validation calibrates it, and its thresholds follow the calibrated
# MAGIC probabilities. Test is reported and decides nothing.
# MAGIC
# MAGIC The best model is registered. It becomes `champion` if it beats the present one by more than chance.
# MAGIC Run again with the same settings, the notebook continues after the last finished step.

# COMMAND ----------

dbutils.widgets.text("orders_table", "", "Orders (empty: generated)")
dbutils.widgets.text("rows", "100000", "Generated orders")
dbutils.widgets.text("prevalence", "0.01", "Share of fraud")
dbutils.widgets.text("output", "/Volumes/main/default/imbalance_spark", "Folder for tables")
dbutils.widgets.text("strategies", "none, class_weight, balanced_sketch, {kind: undersample, sampling_strategy: 0.1}")
dbutils.widgets.text("rounds", "200", "Boosting rounds")
dbutils.widgets.text("tracking_uri", "databricks", "MLflow")
dbutils.widgets.text("experiment", "/Shared/imbalance_spark", "Experiment")
dbutils.widgets.text("registered_model", "main.default.orders_fraud", "Registered model")
dbutils.widgets.text("config", "../conf/databricks.yaml", "Config")

# COMMAND ----------

import mlflow

import imbalance_spark as ims

# COMMAND ----------

# MAGIC %md
# MAGIC ## What is asked

# COMMAND ----------

given = {name: dbutils.widgets.get(name) for name in ("orders_table", "output", "rounds", "strategies")}
settings = [f"output='{given['output']}/runs'", f"training.rounds={given['rounds']}"]
settings += [f"strategies=[{given['strategies']}]"]
for name, widget in (("uri", "tracking_uri"), ("experiment", "experiment"), ("registered_model", "registered_model")):
    settings.append(f"tracking.{name}='{dbutils.widgets.get(widget)}'")

orders = None
if given["orders_table"]:
    settings.append(f"orders.source={{table: '{given['orders_table']}'}}")
else:
    rows, prevalence = int(dbutils.widgets.get("rows")), float(dbutils.widgets.get("prevalence"))
    orders = ims.generate_orders(spark, rows=rows, prevalence=prevalence, seed=7)
config = ims.load_config(dbutils.widgets.get("config"), ims.RunConfig, settings)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Fit, score, evaluate, log
# MAGIC One Spark scan of validation and test scores all models; every number and figure below comes from its counts.
# MAGIC A table is read where it is, pinned at its version. A DataFrame is written once to the folder of the run.

# COMMAND ----------

result = ims.run(spark, config, orders)

# COMMAND ----------

# MAGIC %md
# MAGIC ## The answer
# MAGIC Best first, by average precision on validation. All other columns are test, at the threshold that was chosen on
# MAGIC validation. The last row is the majority class, whose accuracy is high and whose recall is 0.

# COMMAND ----------

display(result.table)
print(result.text())

# COMMAND ----------

# MAGIC %md
# MAGIC ## How sure is that?
# MAGIC Intervals come from hash buckets of customers. A gain whose interval holds 0 is no gain.

# COMMAND ----------

figures = result.figures
display(figures["comparison"])
if "gain_over_plain" in figures:
    display(figures["gain_over_plain"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## What it costs, and at what threshold

# COMMAND ----------

display(figures["cost"])
display(figures["thresholds"])
display(figures["confusion_matrix"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## Over all thresholds, and are the probabilities right?
# MAGIC On the dotted line of the last figure, predicted probabilities come true: resampled models, too, after their
# MAGIC correction.

# COMMAND ----------

display(figures["precision_recall"])
display(figures["gain_and_lift"])
display(figures["reliability"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## Your own question, in SQL
# MAGIC Counts and curves of every strategy are a table in MLflow. Here: the most fraud that is found while at least
# MAGIC every second alert is right.

# COMMAND ----------

runs = list(result.logged.strategy_run_ids.values())
curves = mlflow.load_table("curves.parquet", run_ids=runs, extra_columns=["params.strategy"])
spark.createDataFrame(curves.rename(columns={"params.strategy": "strategy"})).createOrReplaceTempView("curves")
display(
    spark.sql(
        """
        SELECT strategy, max(recall) recall, max_by(threshold, recall) threshold, max_by(flagged, recall) flagged
        FROM curves WHERE fold = 'test' AND precision >= 0.5 GROUP BY strategy ORDER BY recall DESC
        """
    )
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## The whole report, as it stands in MLflow

# COMMAND ----------

displayHTML(result.report_html)

# COMMAND ----------

# MAGIC %md
# MAGIC **Next**: notebook 3 chooses the champion's threshold, and changes it for other costs.
