"""Average precision of the ensembles beside those of imbalanced-learn and imbalanced-ensemble, on the same rows."""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from sklearn.metrics import average_precision_score

from benchmarks.ensemble_peers import average_precisions
from benchmarks.fit import SETTINGS
from benchmarks.made_data import MADE, labels_of
from imbalance_spark.core.columns import IS_EARLY_STOPPING, TRAIN, col
from imbalance_spark.core.run import Run
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.model_inputs import feature_column
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.strategies import strategy_from_config
from imbalance_spark.train_only.strategies.fit import fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.recipe import FitTask

KINDS = ("self_paced_ensemble", "undersample_ensemble", "balanced_bagging", "rus_boost", "balanced_random_forest")
_BASE: dict[str, Any] = {"max_depth": 4, "learning_rate": 0.2}
"""XGBoost's parameters of the members of both sides, but for forests."""
_SETTINGS = {**SETTINGS, "spark.sql.shuffle.partitions": "2"}
_INSTALL = "pip install imbalanced-ensemble==0.2.3 scikit-learn==1.6.0 xgboost==3.2.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="strategies (default: all)")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000, help="training rows")
    parser.add_argument("--unseen-rows", type=lambda text: int(float(text)), default=50_000, help="rows to score")
    parser.add_argument("--prior", type=float, default=0.02, help="share of positives")
    parser.add_argument("--data", default="heavy tails", choices=list(MADE), help="how rows are drawn")
    parser.add_argument("--seeds", type=int, default=20, help="draws of rows and samples")
    parser.add_argument("--first-seed", type=int, default=0, help="of these draws, which several runs can share out")
    parser.add_argument("--members", type=int, default=5, help="of each ensemble; of a forest, each with 10 trees")
    parser.add_argument("--rounds", type=int, default=20, help="trees of each member")
    parser.add_argument("--weak-rounds", type=int, default=3, help="trees of each member of rus_boost")
    parser.add_argument("--workers", type=int, default=2, help="cores of Spark")
    parser.add_argument("--peer", help=f"Python of an environment with imbalanced-ensemble: {_INSTALL}")


def run(args: argparse.Namespace) -> dict[str, object]:
    print(f"{'strategy':<26}{'ours':>10}{'peer':>10}{'difference':>12}{'its error':>12}")
    results = {}
    with (
        spark_session("bench-ensembles", f"local[{args.workers}]", _SETTINGS) as spark,
        tempfile.TemporaryDirectory() as folder,
    ):
        for kind in args.kinds:
            ours = np.array([_ours(spark, Path(folder), kind, seed, args) for seed in _seeds(args)])
            peers = np.array(_peers(Path(folder), kind, args))
            difference = ours - peers
            error = difference.std(ddof=1) / np.sqrt(args.seeds)
            print(f"{kind:<26}{ours.mean():>10.4f}{peers.mean():>10.4f}{difference.mean():>12.4f}{error:>12.4f}")
            results[kind] = {"ours": ours.round(5).tolist(), "peer": peers.round(5).tolist()}
    asked = {name: value for name, value in vars(args).items() if name not in ("name", "peer")}
    return {**asked, "average_precision": results}


def _ours(spark: SparkSession, folder: Path, kind: str, seed: int, args: argparse.Namespace) -> float:
    """Average precision of the strategy; the rows that it was fitted on are left in a file for the peer."""
    draws = np.random.default_rng(seed)
    (x, y), (unseen_x, unseen_y) = (_drawn(draws, rows, args) for rows in (args.rows, args.unseen_rows))
    task = FitTask(
        orders=OrdersConfig(label="y", key=("order_id",), numeric=tuple(f"feature_{i}" for i in range(x.shape[1]))),
        training=TrainingConfig(
            engine="native", num_workers=1, seed=seed, rounds=args.rounds, early_stopping_rounds=args.rounds
        ),
        split=SplitConfig(seed=seed),
    )
    rows = pd.DataFrame(x, columns=[feature_column(i) for i in range(x.shape[1])])
    rows = rows.assign(order_id=range(len(rows)), split=TRAIN, y=y.astype(np.int32))
    part = Run.open(spark, str(folder), f"{kind}-{seed}", "bench", {})
    train = write_train_table(part, spark.createDataFrame(rows), task)
    more: dict[str, Any] = {} if kind == "balanced_random_forest" else {"params": _BASE}
    if kind == "rus_boost":
        more["rounds"] = args.weak_rounds
    fitted = fit_strategy(part, train, strategy_from_config({"kind": kind, "members": args.members, **more}), task)
    # The peer has no early-stopping set.
    to_fit = train.where(~col(IS_EARLY_STOPPING)).select("order_id").toPandas()["order_id"].to_numpy()
    np.savez(_file(folder, kind, seed), x=x[to_fit], y=y[to_fit], unseen_x=unseen_x, unseen_y=unseen_y)
    correction = fitted.recipe.prior_shift.correction()
    scores = probabilities(load_booster(fitted.booster.model_bytes), unseen_x, correction)
    return float(average_precision_score(unseen_y, scores))


def _drawn(draws: np.random.Generator, rows: int, args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    x, probability = MADE[args.data](draws, rows, args.prior)
    return x, labels_of(draws, probability)


def _peers(folder: Path, kind: str, args: argparse.Namespace) -> list[float]:
    asked = {
        "kind": kind, "files": [str(_file(folder, kind, seed)) for seed in _seeds(args)], "members": args.members,
        "params": {**_BASE, "n_estimators": args.weak_rounds if kind == "rus_boost" else args.rounds},
    }  # fmt: skip
    if kind != "self_paced_ensemble":
        return average_precisions(**asked)
    if args.peer is None:
        raise SystemExit(f"self_paced_ensemble: give --peer the Python of an environment that has its peer: {_INSTALL}")
    script = Path(__file__).with_name("ensemble_peers.py")
    done = subprocess.run([args.peer, str(script), json.dumps(asked)], capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _seeds(args: argparse.Namespace) -> range:
    return range(args.first_seed, args.first_seed + args.seeds)


def _file(folder: Path, kind: str, seed: int) -> Path:
    return folder / f"{kind}-{seed}.npz"
