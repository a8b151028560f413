"""Bad inputs that need no Spark: settings, texts and places."""

import errno
from pathlib import Path

import numpy as np
import pytest
from support.made_up_comparison import OBJECTIVES, target_counts

from imbalance_spark.comparison.score_strategies import calibrate_and_choose
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config, parse, parse_yaml
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.metrics import ScoreCounts, top_rows
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.monitoring.expected import DRAWS
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.threshold.decisions import decisions_of

ORDERS = "orders: {source: {path: orders}, label: y, numeric: [x]}\n"


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(parse_yaml(text, "c.yaml"), RunConfig, "c.yaml")
    return str(caught.value)


@pytest.mark.parametrize("k", [0, -1])
def test_neighbours_are_counted_from_one(k: int) -> None:
    said = problem(f"name: a\noutput: o\n{ORDERS}strategies: [{{kind: smote, k_neighbors: {k}}}]\n")
    assert f"strategies.0.k_neighbors: Input should be greater than or equal to 1, got {k}" in said


@pytest.mark.parametrize("run_id", ["../other", "/etc/x", "a/b", "..", "~/x", "a\\0b"])
def test_a_run_id_leads_to_no_other_folder(run_id: str) -> None:
    assert "run_id: String should match" in problem(
        f'name: a\noutput: o\nrun_id: "{run_id}"\n{ORDERS}strategies: [none]\n'
    )


def test_a_config_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefghijk", "bcdefghijkl", strict=True)
    )
    with pytest.raises(ConfigError, match="line 1: anchors and aliases"):
        parse_yaml(bomb, "c.yaml")
    with pytest.raises(ConfigError, match="nested deeper than 12 levels"):
        parse_yaml(f"a: {'[' * 5000}{']' * 5000}", "c.yaml")
    file = tmp_path / "c.yaml"
    file.write_text(f"a: {'x' * 1_000_000}\n", "utf-8")
    with pytest.raises(ConfigError, match="larger than 1,000,000 bytes"):
        load_config(str(file), RunConfig)


def test_an_integer_of_thousands_of_digits_is_text_and_refused_as_such() -> None:
    assert parse_yaml(f"a: {'9' * 5000}\nb: -e5\nc: .e5\nd: 1.e5\ne: .5e1\n", "c") == {
        "a": "9" * 5000, "b": "-e5", "c": ".e5", "d": 1e5, "e": 5.0,
    }  # fmt: skip


def test_a_path_below_home_is_expanded_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = "name: a\noutput: {}\norders: {{source: {{path: {}}}, label: y, numeric: [x]}}\nstrategies: [none]\n"
    config = parse(parse_yaml(text.format("~/out", "~/in"), "c"), RunConfig, "c")
    assert config.orders.source is not None
    assert (config.output, config.orders.source.path) == ("/home/me/out", "/home/me/in")
    for path in ("s3a://b/~/x", "a/~/x", "~other/x", "dbfs:/x", "./x"):
        assert parse(parse_yaml(text.format(path, "i"), "c"), RunConfig, "c").output == path


@pytest.mark.parametrize("label", ["", " ", "a\\0b", "a\\eb", "\\u202Eabc", "x" * 1001])
def test_a_class_that_hides_something_is_refused_before_anything_runs(label: str) -> None:
    orders = f'orders: {{source: {{path: o}}, label: y, numeric: [x], classes: [ok, late, "{label}"]}}\n'
    assert "classes has names that are empty" in problem(f"name: a\noutput: o\n{orders}strategies: [none]\n")


def test_more_top_rows_than_there_are_is_refused() -> None:
    curve = ScoreCounts.from_arrays(np.array([0, 1]), np.array([0.1, 0.9])).curve()
    for k in (0, -1, 3):
        with pytest.raises(ConfigError, match="at most all 2 rows"):
            top_rows(curve, k)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_place_that_takes_no_file_is_named(number: int) -> None:
    code, line = describe(OSError(number, "the system's own words", "/data/out/status.json"))
    assert (code, "/data/out/status.json" in line) == (1, True)


def test_other_test_rows_move_neither_calibration_nor_threshold() -> None:
    draw = np.random.default_rng(3)

    def rows(shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        logit = draw.normal(-3, 2, 3000)
        return (
            draw.random(3000) < 1 / (1 + np.exp(-logit)),
            1 / (1 + np.exp(shift - logit)),
            draw.integers(0, BUCKETS, 3000),
        )

    validation, decisions = rows(0.5), decisions_of(OBJECTIVES, "min_cost_fn_10_fp_1")
    one, other = (
        calibrate_and_choose(HeldOutCounts(targets=(target_counts({VALIDATION: validation, TEST: test}),)), decisions)
        for test in (rows(0.0), rows(4.0))
    )
    assert one.calibration == other.calibration
    assert one.rules == other.rules


def test_a_level_that_no_p_value_of_the_monitor_reaches_is_refused() -> None:
    section = "monitoring: {scored: scored, output: counts, level: 0.001}\n"
    said = problem(f"name: a\noutput: o\n{ORDERS}strategies: [none]\n{section}")
    assert "monitoring.level: Input should be greater than or equal to 0.0025, got 0.001" in said
    assert 1.0 / (1.0 + DRAWS) < 0.0025
