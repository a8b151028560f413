"""Does SMOTE help, or its threshold? Each strategy at a raw score of 0.5, as published results have it, and tuned."""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.fit import SETTINGS
from imbalance_spark.comparison.compare import compare, stages
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import TEST
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.datasets.population import NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic import generate_orders

STRATEGIES = ("none", "class_weight", "balanced_sketch", "smote")
_OBJECTIVE = "max_f1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=300_000, help="generated orders")
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives")
    parser.add_argument("--rounds", type=int, default=200, help="most boosting rounds")
    parser.add_argument("--workers", type=int, default=2, help="cores")
    parser.add_argument("--seed", type=int, default=7)


def run(args: argparse.Namespace) -> dict[str, object]:
    master = f"local[{args.workers}]"
    with spark_session("bench-smote-vs-threshold", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        orders = generate_orders(spark, rows=args.rows, prevalence=args.prevalence, seed=args.seed, partitions=4)
        orders.write.format("delta").save(str(Path(folder) / "orders"))
        config = _config(args, folder)
        results = compare(spark, config, Progress(stages(config))).results
    found = {result.name: _evaluated(result) for result in results}
    heads = ("AP", "F1 at 0.5", "recall", "precision", "F1 tuned", "cost tuned")
    print(f"{'strategy':<16}" + "".join(f"{head:>12}" for head in heads))
    for name in STRATEGIES:
        print(f"{name:<16}" + "".join(f"{value:>12.4g}" for value in found[name].values()))
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "strategies": found}


def _config(args: argparse.Namespace, folder: str) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "smote-vs-threshold",
            "output": f"{folder}/output",
            "orders": {
                "source": {"path": f"{folder}/orders"}, "key": ("order_id",), "label": "is_fraud",
                "group": "customer_id", "numeric": tuple(NUMERIC_FEATURES),
            },
            "training": {"num_workers": args.workers, "rounds": args.rounds},
            "strategies": STRATEGIES,
            "evaluation": "holdout",
            "objectives": ({"name": "max_f_beta", "beta": 1.0}, {"name": "min_cost", "fn": 10.0, "fp": 1.0}),
        }
    )  # fmt: skip


def _evaluated(result: StrategyResult) -> Mapping[str, float]:
    """Test metrics: at a raw score of 0.5, and at the thresholds that validation chose."""
    # Counts are of corrected scores: 0.5 is where the correction puts it.
    [half] = result.fitted.recipe.prior_shift.correction().apply([0.5])
    matrix = result.held_out.target.by_fold[TEST].curve().at(float(half))
    return {
        "ap": round(result.metrics["test/average_precision"], 4),
        "f1_at_half": round(matrix.f1, 4),
        "recall_at_half": round(matrix.recall, 4),
        "precision_at_half": round(matrix.precision, 4),
        "f1_tuned": round(result.metrics[f"test/{_OBJECTIVE}/f1"], 4),
        "cost_tuned": result.metrics["test/cost"],
    }
