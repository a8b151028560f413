"""A network by NumPy against plain Python, and its bytes when they are not what was written."""

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.networks import random_network, rows_of_network

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.boosters import effects, load_booster
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.bundle_files import decode_tensors, encode_tensors
from imbalance_spark.scoring.network import NetworkModel, NetworkSum, is_network, sum_of_networks
from imbalance_spark.scoring.reasons import check_reasons
from imbalance_spark.scoring.scorer import Scorer
from imbalance_spark.threshold.class_rules import ClassThresholds


def by_hand(model: NetworkModel, row: np.ndarray) -> list[float]:
    """One row's margins, number by number."""
    numbers, missing = [], []
    for value, centre, width in zip(row.tolist(), model.centres.tolist(), model.widths.tolist(), strict=False):
        missing.append(1.0 if math.isnan(value) else 0.0)
        numbers.append(0.0 if math.isnan(value) else max(-10.0, min(10.0, (value - centre) / width)))
    embedded = []
    for code, table in zip(row[len(numbers) :].tolist(), model.tables, strict=True):
        is_known = not math.isnan(code) and code < len(table) - 1
        embedded += table[int(code) if is_known else -1].tolist()
    x = [*numbers, *missing, *embedded]
    for number, (weight, bias) in enumerate(model.layers):
        x = [
            sum(w * v for w, v in zip(line, x, strict=True)) + b
            for line, b in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
        if number + 1 < len(model.layers):
            x = [max(value, 0.0) for value in x]
    return x


@pytest.mark.parametrize("outputs", [1, 3])
def test_margins_are_those_of_plain_python(outputs: int) -> None:
    model, rows = random_network(outputs), rows_of_network(300)
    found = model.inplace_predict(rows)
    assert found.shape == ((300,) if outputs == 1 else (300, 3))
    np.testing.assert_allclose(found.reshape(300, -1), [by_hand(model, row) for row in rows], rtol=1e-12, atol=1e-12)
    assert np.ptp(found) > 5.0


@pytest.mark.parametrize("rows_a_batch", [1, 7, 16, 5000])
def test_a_row_scores_the_same_to_the_last_bit_in_any_batch(rows_a_batch: int) -> None:
    draw = np.random.default_rng(3)
    sizes = (200, 128, 64, 1)
    layers = tuple((draw.normal(size=(out, given)), np.zeros(out)) for given, out in pairwise(sizes))
    model = NetworkModel(centres=np.zeros(100), widths=np.ones(100), tables=(), layers=layers)
    rows = draw.normal(size=(5000, 100)).astype(np.float32)
    order = draw.permutation(len(rows))[:200]
    parts = [model.inplace_predict(rows[order][at : at + rows_a_batch]) for at in range(0, 200, rows_a_batch)]
    assert (np.concatenate(parts) == model.inplace_predict(rows)[order]).all()
    assert model.inplace_predict(rows[:0]).shape == (0,)


def test_the_bytes_give_the_network_back() -> None:
    model, rows = random_network(3), rows_of_network(50)
    content = model.to_bytes()
    assert is_network(content)
    assert not is_network(b'{L\x00"learner"')
    assert not is_network(b'{"linear_model": 1}')
    again = NetworkModel.from_bytes(content)
    assert again.to_bytes() == content
    assert (again.inplace_predict(rows) == model.inplace_predict(rows)).all()


def changed(change: Callable[[dict], object], **metadata: object) -> bytes:
    arrays, found = decode_tensors(random_network().to_bytes())
    change(arrays)
    shape = {**json.loads(found["network"]), **metadata}
    return encode_tensors(arrays, {"network": json.dumps(shape)})


@pytest.mark.parametrize(("content", "why"), [
    (changed(lambda arrays: arrays.pop("widths")), "has the arrays"),
    (changed(lambda arrays: arrays.update(more=np.zeros(1))), "has the arrays"),
    (changed(lambda arrays: arrays.update(widths=np.zeros(2))), "a width not above 0"),
    (changed(lambda arrays: arrays.update(widths=np.ones(3))), "2 centres, 3 widths"),
    (changed(lambda arrays: arrays.update(centres=np.zeros(()))), "number of dimensions"),
    (changed(lambda arrays: arrays["layers.0.bias"].fill(np.nan)), "not finite"),
    (changed(lambda arrays: arrays.update({"layers.1.weight": np.zeros((5, 7))})), r"layer 1 has weights .* 6 inputs"),
    (changed(lambda arrays: arrays.update({"tables.0": np.zeros((5, 2))})), r"layer 0 has weights .* 6 inputs"),
    (changed(lambda arrays: arrays.update({"tables.0": np.zeros((0, 3))})), "do not fit"),
    (changed(dict, layers=0), "0 layers"),
    (changed(dict, tables="many"), "do not say what it consists of"),
    (changed(dict, format=2), "a network of format 2, this package reads 1"),
    (encode_tensors({"centres": np.zeros(1)}, {}), "do not say what it consists of"),
])  # fmt: skip
def test_a_network_that_cannot_be_is_refused_in_one_sentence(content: bytes, why: str) -> None:
    with pytest.raises(DataContractError, match=why) as refused:
        NetworkModel.from_bytes(content)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(("Fetch the model again.", "Use the one that wrote it."))


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_sum_has_a_multiple_of_the_networks_margins_also_as_bytes(outputs: int) -> None:
    members, rows = [random_network(outputs, seed) for seed in (1, 2, 3)], rows_of_network(50)
    two = sum_of_networks([member.to_bytes() for member in members[:2]], 0.5)
    content = sum_of_networks([two, members[2].to_bytes()], 2.0)
    found = load_booster(content)
    assert isinstance(found, NetworkSum)
    assert is_network(content)
    assert found.to_bytes() == content
    first, second, third = (member.inplace_predict(rows) for member in members)
    np.testing.assert_allclose(found.inplace_predict(rows), first + second + 2.0 * third, rtol=1e-5, atol=1e-5)
    effects = sum(weight * member.effects(rows) for weight, member in zip((1, 1, 2), members, strict=True))
    np.testing.assert_allclose(found.effects(rows), effects, rtol=1e-5, atol=1e-4)


def changed_sum(change: Callable[[dict], object], **metadata: object) -> bytes:
    arrays, found = decode_tensors(sum_of_networks([random_network(seed=seed).to_bytes() for seed in (1, 2)], 1.0))
    change(arrays)
    shape = {**json.loads(found["sum_of_networks"]), **metadata}
    return encode_tensors(arrays, {"sum_of_networks": json.dumps(shape)})


ONE = {"tables": 1, "layers": 3}


@pytest.mark.parametrize(("content", "why"), [
    (changed_sum(lambda arrays: arrays.pop("1.widths")), "has the arrays"),
    (changed_sum(lambda arrays: arrays.update({"2.widths": np.zeros(2)})), "'2.widths' is of none of its 2 networks"),
    (changed_sum(lambda arrays: arrays.update(widths=np.zeros(2))), "'widths' is of none of its 2 networks"),
    (changed_sum(lambda arrays: arrays["1.layers.0.bias"].fill(np.inf)), "not finite"),
    (changed_sum(dict, members=[]), "do not say of which networks"),
    (changed_sum(dict, members="many"), "do not say of which networks"),
    (changed_sum(dict, members=[ONE, 7]), "do not say what it consists of"),
    (changed_sum(dict, members=[ONE]), "is of none of its 1 networks"),
    (changed_sum(dict, format=2), "a network of format 2, this package reads 1"),
    (encode_tensors({}, {"sum_of_networks": "[]"}), "do not say what it consists of"),
    (sum_of_networks([random_network(outputs).to_bytes() for outputs in (1, 3)], 1.0), "different features or classes"),
])  # fmt: skip
def test_a_sum_that_cannot_be_is_refused_in_one_sentence(content: bytes, why: str) -> None:
    with pytest.raises(DataContractError, match=why) as refused:
        load_booster(content)
    assert "\n" not in str(refused.value)


def test_an_effect_is_what_a_row_loses_with_a_number_at_its_mean_or_no_category() -> None:
    model, rows = random_network(), rows_of_network(40)
    found = model.effects(rows)[:, 0]
    for k, value in enumerate((100.0, -1.0, np.nan)):
        without = rows.copy()
        without[:, k] = value
        expected = [by_hand(model, row)[0] - by_hand(model, other)[0] for row, other in zip(rows, without, strict=True)]
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-9, atol=1e-9)
    assert (effects(load_booster(model.to_bytes()), rows) == np.abs(found)).all()


def test_a_bundle_of_a_network_scores_as_in_memory_and_refuses_reasons(tmp_path: Path) -> None:
    values = tuple("abcd")
    bundle = ModelBundle(
        strategy="none", model_bytes=random_network().to_bytes(), numeric=("amount", "hour"), categorical=("shop",),
        categories=CategoryEncoding(values={"shop": values}), label=LabelEncoding(classes=("0", "1")),
        correction=PriorCorrection.of_odds(positive=2.0, negative=1.0),
        calibrator=LogOddsCalibration(method="identity"), rules={"max_f1": ClassThresholds.of_threshold(0.5)},
        serve_objective="max_f1",
    )  # fmt: skip
    assert sorted(bundle.save(str(tmp_path))) == ["model.json", "network.safetensors", "threshold.json"]
    loaded = ModelBundle.load(str(tmp_path))
    assert loaded == bundle
    rows = rows_of_network(200)
    orders = pd.DataFrame(rows[:, :2], columns=["amount", "hour"])
    orders["shop"] = [None if np.isnan(code) else "abcdef"[int(code)] for code in rows[:, 2]]
    margin = random_network().inplace_predict(rows)
    expected = 1.0 / (1.0 + np.exp(np.log(2.0) - margin))
    np.testing.assert_allclose(Scorer(loaded).score(orders)["probability"], expected, rtol=1e-12)
    check_reasons(0, bundle)
    with pytest.raises(ConfigError, match="the model is a network") as refused:
        check_reasons(1, bundle)
    with pytest.raises(ConfigError, match=re.escape(str(refused.value))):
        Scorer(loaded).contributions(rows, expected)
