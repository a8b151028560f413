"""What a config may ask for with two classes, and what with more."""

from collections.abc import Iterator, Sequence

from imbalance_spark.config_strategy import StrategyConfig

MOST_CLASSES = 50
"""Each class costs a tree a round, and bins of its own in every count."""

CLASS_KINDS = (
    "none", "undersample", "oversample", "class_weight", "balanced_sketch", "focal", "class_balanced_focal",
    "max_delta_step",
)  # fmt: skip
"""Kinds of strategies that there are for more than two classes."""

_INSTEAD = {
    "scale_pos_weight": "class_weight",
    "class_weight_power": "balanced_sketch",
    "asymmetric_focal": "focal",
    "undersample_ensemble": "undersample",
    "logistic_class_weight": "class_weight",
}


def class_names_problems(names: Sequence[str], *, has_positive: bool) -> Iterator[str]:
    """What is wrong with the names of the classes, where there are any."""
    if not names:
        return
    if has_positive:
        yield "positive_label is for two classes, classes for three or more: give one of them"
    if not 3 <= len(names) <= MOST_CLASSES:
        yield f"classes names {len(names)}, it takes 3 to {MOST_CLASSES}: for two use positive_label"
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        yield f"classes names twice: {twice}"


def class_problems(
    names: Sequence[str], strategies: Sequence[StrategyConfig], *, early_stopping_metric: str, segments: Sequence[str]
) -> Iterator[str]:
    """What there is for two classes only, and strategies that do not fit these classes."""
    for strategy in strategies:
        if strategy.kind not in CLASS_KINDS:
            instead = f": use {_INSTEAD[strategy.kind]}" if strategy.kind in _INSTEAD else ""
            yield (
                f"strategy {strategy.name!r}: {strategy.kind} is for two classes, orders.classes has {len(names)}"
                f"{instead}; for these there are {list(CLASS_KINDS)}"
            )
        else:
            yield from _strategy_problems(strategy, names)
    if early_stopping_metric != "log_loss":
        yield (
            f"training.early_stopping_metric {early_stopping_metric} is for two classes, orders.classes has "
            f"{len(names)}: stop by log_loss"
        )
    if segments:
        yield f"scoring.segments {list(segments)} are counted for two classes only: leave them out"


def two_class_problems(strategies: Sequence[StrategyConfig]) -> Iterator[str]:
    """Weights that do not name the two classes, 0 and 1."""
    for strategy in strategies:
        if not isinstance(strategy.weights, str) and set(strategy.weights) != {0, 1}:
            yield (
                f"strategy {strategy.name!r}: weights must name class 0 and class 1 (the positive one), and no other, "
                f"got {list(strategy.weights)}"
            )


def _strategy_problems(strategy: StrategyConfig, names: Sequence[str]) -> Iterator[str]:
    if not isinstance(strategy.weights, str) and set(map(str, strategy.weights)) != set(names):
        yield (
            f"strategy {strategy.name!r}: weights must name each class of orders.classes {list(names)}, and no other, "
            f"got {list(strategy.weights)}"
        )
    if isinstance(strategy.sampling_strategy, float):
        yield (
            f"strategy {strategy.name!r}: sampling_strategy {strategy.sampling_strategy} is a ratio of two classes: "
            "give rows per class, or 'auto'"
        )
    elif not isinstance(strategy.sampling_strategy, str) and (
        unknown := sorted(set(map(str, strategy.sampling_strategy)) - set(names))
    ):
        yield (
            f"strategy {strategy.name!r}: sampling_strategy names {unknown}, which orders.classes {list(names)} lacks"
        )
    if strategy.alpha is not None:
        yield (
            f"strategy {strategy.name!r}: alpha weighs the positive one of two classes: leave it out, or use "
            "class_balanced_focal, which weighs all"
        )
