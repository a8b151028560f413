# Databricks notebook source
# MAGIC %md
# MAGIC # 3. Choose a threshold, and change it later
# MAGIC From the counts that were logged with the model: no data is read, nothing is fitted again.
# MAGIC A threshold is a business decision: what does a missed fraud cost, and a false positive, how many alerts can be
# MAGIC worked on a day, and has the rate moved?

# COMMAND ----------

dbutils.widgets.text("model", "models:/main.default.orders_fraud@champion", "Model")
dbutils.widgets.text("tracking_uri", "databricks", "MLflow")
dbutils.widgets.text("miss_cost", "25", "Cost of a missed fraud")
dbutils.widgets.text("alarm_cost", "1", "Cost of a false positive")
dbutils.widgets.text("orders_per_day", "5000", "Orders scored a day")
dbutils.widgets.text("base_rate", "", "Share of fraud from now on (empty: unchanged)")
dbutils.widgets.dropdown("register", "no", ["no", "yes"], "Register as champion")

# COMMAND ----------

import pandas as pd

import imbalance_spark as ims
from imbalance_spark.metrics import plots

# COMMAND ----------

# MAGIC %md
# MAGIC ## The model as it is

# COMMAND ----------

tracking_uri = dbutils.widgets.get("tracking_uri")
model = ims.load_registered_model(tracking_uri, dbutils.widgets.get("model"))
logged = ims.load_logged_model(tracking_uri, model.run_id)
held_out, bundle = logged.held_out.target, model.bundle
through = bundle.calibrator.apply
validation = held_out.bucketed("validation", through)
print(f"{model.label}, strategy {bundle.strategy}: threshold {bundle.threshold:.6g}, for {bundle.serve_objective}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## What each objective asks for
# MAGIC From calibrated probabilities on all of validation; what each gives there is cross-fitted over its halves.

# COMMAND ----------

fn, fp = (float(dbutils.widgets.get(name)) for name in ("miss_cost", "alarm_cost"))
cost = ims.MinCost(fn=fn, fp=fp)
objectives = (cost, ims.MaxFBeta(beta=1.0), ims.MaxFBeta(beta=2.0), ims.MaxMCC(), ims.MaxRecall(precision=0.5))
choices = {objective.name: ims.choose_threshold(held_out.halved, objective) for objective in objectives}
display(
    pd.DataFrame(
        [
            {
                "objective": name,
                "threshold": choice.threshold,
                "flagged": choice.matrix.flagged,
                "precision": choice.matrix.precision,
                "recall": choice.matrix.recall,
                "cost": choice.matrix.cost(fn=fn, fp=fp),
                "reached": choice.reachable,
                "doubt": choice.warning or "",
            }
            for name, choice in choices.items()
        ]
    )
)
thresholds = {name: choice.threshold for name, choice in choices.items()}
display(plots.threshold_figure(validation.curve, fn=fn, fp=fp, chosen=thresholds, title="Thresholds on validation"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The cheapest, and how sure it is
# MAGIC The regret is what choosing on so few rows costs, beyond the least possible.

# COMMAND ----------

chosen = choices[cost.name]
sure = ims.threshold_interval(validation, lambda curve: ims.choose_again(curve, cost), cost.values, draws=200)
print(chosen.sentence)
print(f"Of other draws of these rows, 95 % choose between {sure.threshold.low:.4g} and {sure.threshold.high:.4g}.")
print(f"Mean regret {sure.regret.value:.4g}, beside a cost of {chosen.value:.6g}.")
test = held_out.test.curve(through)
display(plots.confusion_figure(test.at(chosen.threshold), f"Test at {chosen.threshold:.4g}"))
display(plots.cost_figure({bundle.strategy: test}, fn=fn, fp=fp, title="Cost on test, if costs were others"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## One threshold for all, or one for each country?
# MAGIC Countries that do not differ beyond chance share one threshold; one with few rare rows stays near it.

# COMMAND ----------

for column in held_out.segments["validation"]:
    found = held_out.by_segment("validation", column)
    curves = {value or "(null)": counts.curve(through) for value, counts in found.items()}
    segments = ims.sweep_segments(curves, cost)
    display(
        pd.DataFrame(
            [
                {column: name, "threshold": choice.threshold, "cost": choice.value}
                for name, choice in segments.by_segment.items()
            ]
        )
    )
    gain = segments.gain
    print(f"{column}: a threshold each saves {gain.value:,.6g} of {segments.pooled.value:,.6g}, ", end="")
    print(f"95 % interval {gain.low:,.6g} to {gain.high:,.6g}.")

# COMMAND ----------

# MAGIC %md
# MAGIC ## What changes
# MAGIC With a `base_rate`, probabilities move to it in closed form, and the threshold with them.

# COMMAND ----------

given_rate = dbutils.widgets.get("base_rate")
base_rate = float(given_rate) if given_rate else None
orders_per_day = float(dbutils.widgets.get("orders_per_day"))
retuned = ims.retune(bundle, logged.held_out, cost, base_rate=base_rate, orders_per_day=orders_per_day)
print("\n".join(retuned.lines()))
outcomes = {
    (fold, when): getattr(outcome, when) for fold, outcome in retuned.folds.items() for when in ("before", "after")
}
display(pd.DataFrame([{"fold": fold, "": when, **vars(outcome)} for (fold, when), outcome in outcomes.items()]))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Keep it
# MAGIC With `register` at *yes* the model gets a new version with the new threshold, and scoring uses it from now on.
# MAGIC The version names the one that it came from.

# COMMAND ----------

if dbutils.widgets.get("register") == "yes":
    registered = ims.register_retuned(logged, retuned, model.name, costs=(fn, fp), alias="champion")
    print(f"Registered {model.name} version {registered.version} as champion: {registered.bundle.decides}.")

# COMMAND ----------

# MAGIC %md
# MAGIC **Next**: notebook 4 scores new orders with the champion.
