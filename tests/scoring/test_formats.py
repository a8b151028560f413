"""Counts and models that earlier versions logged are read as they were; the files in formats/ are theirs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.class_rows import FEATURES, class_rows
from support.model_rows import matrix
from support.orders_to_score import orders

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import FLAG_NOBODY
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.bundle_files import encode_parts, write_parts
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.scoring.scorer import Scorer

FORMATS = Path(__file__).parent / "formats"
ORDERS = {
    2: lambda: orders(20),
    3: lambda: pd.DataFrame(matrix(class_rows(20, seed=2)), columns=list(FEATURES)),
}


def read(name: str) -> Any:
    return json.loads((FORMATS / name).read_text("utf-8"))


@pytest.mark.parametrize("name", ["counts_two_classes.json", "counts_three_classes.json"])
def test_counts_of_before_are_read_and_written_as_they_were(name: str) -> None:
    assert HeldOutCounts.from_records(read(name)).to_records() == read(name)


def test_counts_of_before_give_the_numbers_of_before() -> None:
    two, three = (HeldOutCounts.from_records(read(f"counts_{name}_classes.json")) for name in ("two", "three"))
    found = {fold: two.target.by_fold[fold].curve().average_precision() for fold in ("validation", "test")}
    found["choose"] = two.target.choose.curve().roc_auc()
    found["DE"] = two.target.by_segment("test", "country")["DE"].curve().average_precision()
    assert found == pytest.approx(read("numbers.json")["two"], rel=1e-12)
    folds = {fold: three.curves(fold) for fold in ("validation", "test")}
    found = {
        f"{fold}/{k}": curve.average_precision() for fold, curves in folds.items() for k, curve in enumerate(curves)
    }
    found["log_loss"] = three.mean_loss("test", "log_loss")
    found["cost"] = three.confusions["cost_matrix"].of("test").weight[2, 0]
    assert found == pytest.approx(read("numbers.json")["three"], rel=1e-12)


def test_counts_of_classes_have_no_single_target() -> None:
    with pytest.raises(ConfigError, match="of 3 classes"):
        _ = HeldOutCounts.from_records(read("counts_three_classes.json")).target


@pytest.mark.parametrize("number", [2, 3])
def test_a_model_of_before_scores_as_before(number: int) -> None:
    found = Scorer(ModelBundle.load(str(FORMATS / f"bundle_{number}"))).score(ORDERS[number]())
    wanted = pd.DataFrame(read(f"scores_{number}.json"))
    decided = [name for name in wanted if not name.startswith("probability")]
    pd.testing.assert_frame_equal(found[decided], wanted[decided])
    numbers = [name for name in wanted if name not in decided]
    np.testing.assert_allclose(found[numbers], wanted[numbers], rtol=1e-14)


@pytest.mark.parametrize("number", [2, 3])
def test_a_model_of_before_is_saved_in_the_format_of_now(number: int, tmp_path: Path) -> None:
    bundle = ModelBundle.load(str(FORMATS / f"bundle_{number}"))
    bundle.save(str(tmp_path))
    assert ModelBundle.load(str(tmp_path)) == bundle
    assert json.loads((tmp_path / "model.json").read_text("utf-8"))["format"] == 4


def test_thresholds_of_before_keep_every_bit() -> None:
    bundle = ModelBundle.load(str(FORMATS / "bundle_2"))
    assert bundle.thresholds == {"max_f1": 0.2, "max_precision_at_recall_0.5": FLAG_NOBODY}
    assert bundle.threshold == 0.2
    assert bundle.label_column is None
    assert ModelBundle.load(str(FORMATS / "bundle_3")).thresholds == {}


def test_a_format_of_later_is_refused(tmp_path: Path) -> None:
    write_parts(str(tmp_path), encode_parts("model.ubj", b"", {"format": 5}, {}))
    with pytest.raises(DataContractError, match="format 5, this package reads 2 to 4"):
        ModelBundle.load(str(tmp_path))
