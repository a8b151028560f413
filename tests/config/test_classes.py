"""Classes of a config: what is refused for three classes and more, and classes that cannot be."""

from typing import Any

import pytest

from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse
from imbalance_spark.core.errors import ConfigError

CLASSES = ("ok", "late", "fraud")


def config(**changes: Any) -> RunConfig:
    orders = {"source": {"path": "orders"}, "label": "outcome", "classes": CLASSES, "numeric": ("amount",)}
    settings = {"name": "small", "output": "output", "orders": orders, "strategies": ("none",), **changes}
    return parse(settings, RunConfig, "here")


@pytest.mark.parametrize(("changes", "said"), [
    ({"strategies": ({"kind": "scale_pos_weight", "scale_pos_weight": 3.0},)}, "scale_pos_weight"),
    ({"strategies": ("isolation_forest",)}, "isolation_forest"),
    ({"strategies": ({"kind": "class_weight", "weights": {"ok": 1.0, "fraud": 9.0}},)}, "weights must name each of"),
    ({"strategies": ({"kind": "undersample", "sampling_strategy": 0.5},)}, "is a ratio of two classes"),
    ({"strategies": ({"kind": "oversample", "sampling_strategy": {"frod": 9}},)}, "names ['frod']"),
    ({"strategies": ({"kind": "focal", "alpha": 0.5},)}, "alpha weighs the positive one of two classes"),
])  # fmt: skip
def test_what_does_not_fit_three_classes_is_said_when_the_config_is_read(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(("orders", "said"), [
    ({"classes": ("ok", "fraud")}, "classes names 2, it takes 3 to 50"),
    ({"classes": ("ok", "late", "late")}, "classes has duplicates: ['late']"),
    ({"classes": (0, 1, 5), "positive_label": 1}, "give one of them"),
    ({"classes": CLASSES, "numeric": ("true_probability_fraud",)}, "true probability column"),
])  # fmt: skip
def test_classes_that_cannot_be_are_refused(orders: dict[str, Any], said: str) -> None:
    base = {"source": {"path": "orders"}, "label": "outcome", "numeric": ("amount",)}
    with pytest.raises(ConfigError) as caught:
        config(orders={**base, **orders})
    assert said in str(caught.value)


def test_three_classes_may_have_segments_any_metric_and_synthetic_samples() -> None:
    training = {"early_stopping_metric": "average_precision"}
    made = config(strategies=("smote", "scale_pos_weight"), training=training, scoring={"segments": ("country",)})
    assert made.scoring.segments == ("country",)
