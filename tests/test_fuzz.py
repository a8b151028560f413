"""Files and arguments of any content: each is read, or refused in a sentence with its exit code, never with 1.

A corpus of valid inputs is mutated, and hypothesis makes up others. `IMBALANCE_SPARK_FUZZ=10` tries ten times as many.
"""

import contextlib
import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imbalance_spark.cli.arguments import parser
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse, parse_yaml, read_yaml
from imbalance_spark.core.errors import ImbalanceSparkError
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.bundle_files import DECISION, DESCRIPTION, MANIFEST, manifest_of
from jobs import diagnose, doctor, generate_orders, retune, score, train

FUZZ = int(os.environ.get("IMBALANCE_SPARK_FUZZ", "1"))
ROOT = Path(__file__).resolve().parents[1]
FORMATS = ROOT / "tests/scoring/formats"
CONFIGS = [file.read_text("utf-8") for file in sorted((ROOT / "conf").glob("*.yaml"))]
WORDS = (
    *("null", "~", "-", ":", "{", "}", "[", "]", "&a ", "*a", "!!python/object:os.system ", "\t", "\x00", "\u202e"),
    *("1e999", "-e5", ".e5", "9" * 5000, "0x1f", "010", "12:30", "yes", "'", '"', "|", ">", "#", "\ufeff", "%TAG ! x"),
    *("<<: ", "? ", "- - - - - - - - - - - - - - -", "=cmd()", "<script>", "\ud7ff", "\U0001f4b3", "--- ", "..."),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, float("nan"), float("inf"), 10**30, "", "x", "1", [], [1], [[]], {}, {"a": 1}),
    *("\x00", "\u202e", [None], [float("nan")], -(2**63), 1 << 40),
)


def outcome(load: Callable[[], object]) -> str:
    """How reading ended; fails for what would be exit code 1, or a line that a terminal would not print."""
    try:
        load()
    except ImbalanceSparkError as error:
        code, line = describe(error)
        assert code in (2, 3)
        assert line.isprintable()
        return str(code)
    except SystemExit as ended:
        return str(ended.code)
    return "read"


DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def mutated_text(draw: random.Random, text: str) -> str:
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(text) + 1)
        end = min(len(text), start + draw.choice((0, 0, 1, 3, 40)))
        text = text[:start] + draw.choice(WORDS) + text[end:]
    return text


def mutated(draw: random.Random, record: Any) -> Any:
    """The record with a value at one place replaced, a key removed, or a key added."""
    changed = copy.deepcopy(record)
    place, path = changed, 0
    while isinstance(place, dict | list) and place and path < 12:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw.choice(list(keys)[:50])
        path += 1
        if draw.random() < 0.35 or not isinstance(place[key], dict | list) or not place[key]:
            _change(draw, place, key)
            break
        place = place[key]
    return changed


def _change(draw: random.Random, place: Any, key: Any) -> None:
    kind = draw.randrange(3)
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, dict):
        place["unknown"] = draw.choice(VALUES)
    else:
        place[key] = draw.choice(VALUES)


@pytest.mark.parametrize("start", range(len(CONFIGS)))
def test_no_text_of_a_config_is_an_unexpected_error(start: int) -> None:
    draw, text = random.Random(start), CONFIGS[start]
    found = {outcome(lambda: parse_yaml(mutated_text(draw, text), "c.yaml")) for _ in range(150 * FUZZ)}
    assert found == {"read", "2"}


def test_no_value_in_a_config_is_an_unexpected_error() -> None:
    draw, records = random.Random(1), [parse_yaml(text, "c.yaml") for text in CONFIGS]
    runs = [record for record in records if outcome(lambda r=record: parse(r, RunConfig, "c.yaml")) == "read"]
    assert len(runs) >= 4
    as_tuples = [json.loads(json.dumps(record)) for record in runs]
    found = {
        outcome(lambda: parse(_with_tuples(mutated(draw, draw.choice(as_tuples))), RunConfig, "c.yaml"))
        for _ in range(6_000 * FUZZ)
    }
    assert found == {"read", "2"}


def _with_tuples(record: Any) -> Any:
    if isinstance(record, dict):
        return {name: _with_tuples(value) for name, value in record.items()}
    return tuple(_with_tuples(value) for value in record) if isinstance(record, list) else record


@settings(max_examples=60 * FUZZ)
@given(st.text() | DOCUMENTS)
def test_any_text_and_any_document_is_read_or_refused(made: Any) -> None:
    text = made if isinstance(made, str) else yaml.safe_dump(made, allow_unicode=True)
    outcome(lambda: parse(parse_yaml(text, "c.yaml"), RunConfig, "c.yaml"))


@settings(max_examples=60 * FUZZ, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.lists(st.text(max_size=30), max_size=3))
def test_any_file_and_any_override_is_read_or_refused(tmp_path: Path, content: bytes, overrides: list[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    outcome(lambda: read_yaml(str(file), overrides))


@pytest.mark.parametrize("name", ["bundle_2", "bundle_3"])
def test_no_model_bundle_is_an_unexpected_error(name: str, tmp_path: Path) -> None:
    draw, source = random.Random(3), FORMATS / name
    shutil.copytree(source, tmp_path / name)
    parts = {part: (source / part).read_bytes() for part in ("model.ubj", DESCRIPTION, DECISION)}
    described = {part: json.loads(parts[part]) for part in (DESCRIPTION, DECISION)}
    found = set()
    for number in range(250 * FUZZ):
        part = draw.choice((DESCRIPTION, DECISION))
        content = json.dumps(mutated(draw, described[part])).encode()
        if number % 3 == 0:
            content = mutated_text(draw, parts[part].decode()).encode("utf-8", "surrogatepass")
        (tmp_path / name / part).write_bytes(content)
        # A manifest that fits, so that the content itself is read.
        manifest = manifest_of({**parts, part: content})
        (tmp_path / name / MANIFEST).write_text(json.dumps(manifest), "utf-8")
        found.add(outcome(lambda: ModelBundle.load(str(tmp_path / name))))
        (tmp_path / name / part).write_bytes(parts[part])
    assert found == {"read", "2", "3"}


OPTIONS = (
    *("--config", "--set", "--run", "--objective", "--fn", "--fp", "--model", "--input", "--output", "--json"),
    *("--max-quarantined", "--input-version", "--base-rate", "--format", "--prevalence", "--seed", "--unknown"),
)
ARGUMENTS = (*WORDS, "", "-1", "nan", "a=b", "min_cost", "models:/x@y", "x/../../y", "%s%s", "{0}", "\\", "~", "~x/y")


@contextlib.contextmanager
def parsing_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for job in (diagnose, doctor, generate_orders, retune, score, train):
            for name in ("run_job", "run_configured", "run_unconfigured"):
                if hasattr(job, name):
                    patch.setattr(job, name, lambda *_, **__: 0)
        yield


def test_no_argument_is_an_unexpected_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(4)
    with parsing_alone(monkeypatch):
        for job in (diagnose, doctor, generate_orders, retune, score, train):
            for _ in range(60 * FUZZ):
                argv = [draw.choice(draw.choice((OPTIONS, ARGUMENTS))) for _ in range(draw.randint(0, 7))]
                assert outcome(lambda: job.main(argv)) in ("read", "0", "2")  # noqa: B023  # called at once
            capsys.readouterr()
    assert parser("train", "").parse_args(["--config", "x"]).config == "x"
