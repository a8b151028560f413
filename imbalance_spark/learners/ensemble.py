"""Several fitted boosters as one."""

from collections.abc import Sequence
from dataclasses import replace

from imbalance_spark.learners.tree_json import average_boosters
from imbalance_spark.learners.xgboost import FittedBooster


def average_fitted(members: Sequence[FittedBooster]) -> FittedBooster:
    """The booster whose margin is the mean of the members'; rounds are those of all, curves keep the member's number.

    The members have the same features.
    """
    curves = {
        f"member_{number}/{part}": losses
        for number, member in enumerate(members)
        for part, losses in member.learning_curve.items()
    }
    return replace(
        members[0],
        ubj=average_boosters([member.ubj for member in members]),
        best_iteration=sum(member.best_iteration + 1 for member in members) - 1,
        rounds_run=sum(member.rounds_run for member in members),
        learning_curve=curves,
    )
