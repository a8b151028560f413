"""A model's files on disk: any byte that is not what was written is refused, with both hashes."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.orders_to_score import bundle

from imbalance_spark.calibration import LogOddsCalibration, PriorCorrection
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.threshold.class_rules import ClassThresholds, CostMatrix

# Where each thing that a model consists of stands.
PARTS = {
    "booster": ("model.ubj", b"split_conditions"),
    "calibrator": ("model.json", b'"calibrator"'),
    "schema": ("model.json", b'"numeric"'),
    "categories": ("model.json", b'"categories"'),
    "threshold": ("threshold.json", b'"thresholds"'),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_flipped_bit_is_refused_with_the_expected_and_the_found_hash(part: str, tmp_path: Path) -> None:
    name, landmark = PARTS[part]
    manifest = bundle(3).save(str(tmp_path))
    content = bytearray((tmp_path / name).read_bytes())
    content[content.index(landmark) + len(landmark) + 1] ^= 1
    (tmp_path / name).write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(DataContractError) as refused:
        ModelBundle.load(str(tmp_path))
    assert str(refused.value) == (
        f"model bundle: {name} was changed: expected sha256 {manifest[name]}, found {found}. Fetch it again."
    )


def test_every_file_is_covered_at_every_place(tmp_path: Path) -> None:
    bundle(3).save(str(tmp_path))
    for file in sorted(tmp_path.iterdir()):
        kept = file.read_bytes()
        for place in range(0, len(kept), 1 + len(kept) // 40):
            file.write_bytes(kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :])
            with pytest.raises(DataContractError, match=re.escape("model bundle: ")):
                ModelBundle.load(str(tmp_path))
        file.write_bytes(kept)
    assert ModelBundle.load(str(tmp_path)) == bundle(3)


def test_a_manifest_that_was_made_to_fit_another_file_names_what_it_was(tmp_path: Path) -> None:
    bundle(3).save(str(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps({"model.ubj": "0" * 64}), "utf-8")
    with pytest.raises(DataContractError, match=r"model\.ubj was changed: expected sha256 0{64}, found [0-9a-f]{64}"):
        ModelBundle.load(str(tmp_path))


@pytest.mark.parametrize("change", [
    {"model_bytes": b"other"},
    {"numeric": ("amount", "items")},
    {"correction": PriorCorrection.identity()},
    {"calibrator": LogOddsCalibration(method="platt", a=1.2, b=1.2, c=0.1000001)},
    {"rules": {"max_f1": ClassThresholds.of_threshold(0.2000001)}},
    {"base_rate_shift": PriorCorrection.identity()},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_any_change_gives_a_bundle_another_hash(change: dict[str, Any]) -> None:
    assert replace(bundle(3), **change).sha256 != bundle(3).sha256


def test_equal_bundles_have_one_hash_also_when_read_back(tmp_path: Path) -> None:
    whole, fractions = (
        replace(bundle(3), rules={"max_f1": CostMatrix(costs=costs)})
        for costs in (((0, 1), (2, 0)), ((0.0, 1.0), (2.0, 0.0)))
    )
    whole.save(str(tmp_path))
    assert whole.sha256 == fractions.sha256 == ModelBundle.load(str(tmp_path)).sha256
