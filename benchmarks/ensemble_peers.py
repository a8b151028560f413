"""The ensembles of imbalanced-learn and of imbalanced-ensemble on rows in files, with XGBoost as the base learner.

It imports nothing of ours: `python -m benchmarks ensembles --peer PYTHON` starts it in the environment that has the
second one, which needs an older scikit-learn.
"""

import json
import sys
import warnings
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score


def average_precisions(kind: str, files: list[str], members: int, params: dict[str, Any]) -> list[float]:
    """Of each file's unseen rows, by the peer of a kind of strategy; the file's number is its seed."""
    found = []
    for seed, file in enumerate(files):
        with np.load(file) as rows:
            scores = _peer(kind, members, params, seed).fit(rows["x"], rows["y"]).predict_proba(rows["unseen_x"])[:, 1]
            found.append(float(average_precision_score(rows["unseen_y"], scores)))
    return found


def _peer(kind: str, members: int, params: dict[str, Any], seed: int) -> Any:
    from xgboost import XGBClassifier

    base = XGBClassifier(**params, n_jobs=1, random_state=seed)
    if kind == "self_paced_ensemble":
        from imbens.ensemble import SelfPacedEnsembleClassifier

        return SelfPacedEnsembleClassifier(estimator=base, n_estimators=members, random_state=seed)
    from imblearn import ensemble

    if kind == "undersample_ensemble":
        return ensemble.EasyEnsembleClassifier(members, estimator=base, random_state=seed)
    if kind == "balanced_bagging":
        return ensemble.BalancedBaggingClassifier(base, members, random_state=seed)
    if kind == "rus_boost":
        # Its weights sum to 1: with the defaults no leaf would have the weight that it needs.
        base.set_params(min_child_weight=0.0, reg_lambda=0.0)
        return ensemble.RUSBoostClassifier(base, n_estimators=members, random_state=seed)
    return ensemble.BalancedRandomForestClassifier(
        10 * members, sampling_strategy="all", replacement=True, bootstrap=False, random_state=seed
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asked = json.loads(sys.argv[1])
    print(json.dumps(average_precisions(**asked)))
