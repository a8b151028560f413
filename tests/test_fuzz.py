"""Files and arguments of any content: each is read, or refused in a sentence with its exit code, never with 1.

A corpus of valid inputs is mutated 100,000 times, and hypothesis makes up others. `IMBALANCE_SPARK_FUZZ=10` tries ten
times as many.
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
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run import Run
from imbalance_spark.core.run_status import end_status, read_state
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.bundle_files import DECISION, DESCRIPTION, MANIFEST, manifest_of, read_parts
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from jobs import diagnose, doctor, generate_orders, retune, score, train

FUZZ = int(os.environ.get("IMBALANCE_SPARK_FUZZ", "1"))
TRIES = {
    "text of a config": 420, "line of a config": 6_000, "value of a config": 16_000, "file of a bundle": 600,
    "record of a bundle": 20_000, "counts": 2_000, "entry of the step log": 35_000, "status": 20_000, "arguments": 360,
}  # fmt: skip
"""Cheap inputs are tried more often, so that all together take half a minute."""
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
    """The record with a value at one place replaced, a key removed, or a key added; the rest is shared, not copied."""
    changed = place = copy.copy(record)
    while isinstance(place, dict | list) and place:
        key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(min(len(place), 50))
        inner = place[key]
        if draw.random() < 0.35 or not isinstance(inner, dict | list) or not inner:
            _change(draw, place, key)
            break
        place[key] = place = copy.copy(inner)
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
    tries = TRIES["text of a config"] * FUZZ // len(CONFIGS)
    found = {outcome(lambda: parse_yaml(mutated_text(draw, text), "c.yaml")) for _ in range(tries)}
    assert found == {"read", "2"}


def test_no_line_of_a_config_is_an_unexpected_error() -> None:
    draw, lines = random.Random(6), [line for text in CONFIGS for line in text.splitlines()]
    found = {
        outcome(lambda: parse_yaml(mutated_text(draw, draw.choice(lines)), "c.yaml"))
        for _ in range(TRIES["line of a config"] * FUZZ)
    }
    assert found == {"read", "2"}


def test_no_value_in_a_config_is_an_unexpected_error() -> None:
    draw, records = random.Random(1), [parse_yaml(text, "c.yaml") for text in CONFIGS]
    runs = [record for record in records if outcome(lambda r=record: parse(r, RunConfig, "c.yaml")) == "read"]
    assert len(runs) >= 4
    as_tuples = [json.loads(json.dumps(record)) for record in runs]
    found = {
        outcome(lambda: parse(_with_tuples(mutated(draw, draw.choice(as_tuples))), RunConfig, "c.yaml"))
        for _ in range(TRIES["value of a config"] * FUZZ)
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


@pytest.mark.parametrize("name", ["counts_two_classes.json", "counts_three_classes.json"])
def test_no_counts_are_an_unexpected_error(name: str) -> None:
    draw, record = random.Random(2), _coarsened(json.loads((FORMATS / name).read_text("utf-8")))
    assert outcome(lambda: HeldOutCounts.from_records(record)) == "read"
    tries = TRIES["counts"] * FUZZ // 2
    found = {outcome(lambda: HeldOutCounts.from_records(mutated(draw, record))) for _ in range(tries)}
    assert found - {"2"} == {"read", "3"}


def _coarsened(record: Any) -> Any:
    """The record on a grid of 64 bins, whose tables are made at once, with a few numbers of each long list."""
    if isinstance(record, dict):
        coarse = {name: _coarsened(value) for name, value in record.items()}
        return coarse | {"grid": {"bins": 64, "bound": 20.0}} if "grid" in record else coarse
    if isinstance(record, list) and all(isinstance(value, int | float) for value in record):
        return [value % 64 if isinstance(value, int) else value for value in record[:20]]
    return [_coarsened(value) for value in record] if isinstance(record, list) else record


@pytest.mark.parametrize("name", ["bundle_2", "bundle_3"])
def test_no_file_of_a_bundle_is_an_unexpected_error(name: str, tmp_path: Path) -> None:
    draw, source = random.Random(3), FORMATS / name
    shutil.copytree(source, tmp_path / name)
    parts = {part: (source / part).read_bytes() for part in ("model.ubj", DESCRIPTION, DECISION)}
    found = set()
    for _ in range(TRIES["file of a bundle"] * FUZZ // 2):
        part = draw.choice((DESCRIPTION, DECISION, MANIFEST))
        content = mutated_text(draw, (source / part).read_text("utf-8")).encode("utf-8", "surrogatepass")
        (tmp_path / name / part).write_bytes(content)
        if part != MANIFEST:  # one that fits, so that the content itself is read
            manifest = manifest_of({**parts, part: content})
            (tmp_path / name / MANIFEST).write_text(json.dumps(manifest), "utf-8")
        found.add(outcome(lambda: ModelBundle.load(str(tmp_path / name))))
        shutil.copytree(source, tmp_path / name, dirs_exist_ok=True)
    assert found == {"read", "3"}


@pytest.mark.parametrize("name", ["bundle_2", "bundle_3"])
def test_no_record_of_a_bundle_is_an_unexpected_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, (model, *described) = random.Random(5), read_parts(str(FORMATS / name))
    parts = [list(described)]
    monkeypatch.setattr("imbalance_spark.scoring.bundle.read_parts", lambda _folder: (model, *parts[0]))
    found = set()
    for _ in range(TRIES["record of a bundle"] * FUZZ // 2):
        parts[0] = list(described)
        number = draw.randrange(2)
        parts[0][number] = mutated(draw, described[number])
        found.add(outcome(lambda: ModelBundle.load("unread")))
    assert found == {"read", "2", "3"}


class FilesInMemory(Folder):
    """A folder with one file, whatever it is called."""

    content = b""

    def read_bytes(self, name: str) -> bytes:
        return self.content

    def write_bytes(self, name: str, content: bytes) -> None:
        """Nothing is kept."""


@pytest.fixture
def folder() -> FilesInMemory:
    return FilesInMemory(None, "memory")  # type: ignore[arg-type]  # no file of it is on a disk


def damaged(draw: random.Random, record: Any) -> bytes:
    """A JSON file with another value somewhere, other characters, or other bytes."""
    text = json.dumps(mutated(draw, record))
    kind = draw.randrange(4)
    if kind == 0:
        return mutated_text(draw, text).encode("utf-8", "surrogatepass")
    content = text.encode()
    return content if kind < 3 else content[: draw.randrange(len(content))] + draw.randbytes(draw.randrange(9))


def test_no_entry_of_the_step_log_is_an_unexpected_error(folder: FilesInMemory) -> None:
    draw, run = random.Random(7), Run(spark=folder.spark, folder=folder, run_id="r", config_hash="c")
    pin = {"step": "split", "path": "p", "version": 0, "rows": 5, "fingerprint": 7, "table_id": "t"}
    entry = {"run": "r", "step": "split", "config_hash": "c", "output": pin}
    found = set()
    for _ in range(TRIES["entry of the step log"] * FUZZ):
        folder.content = damaged(draw, entry)
        found.add(outcome(lambda: run.is_done("split") and run.pin("split")))
    assert found <= {"read", "3"}
    assert "read" in found


def test_no_status_is_an_unexpected_error(folder: FilesInMemory) -> None:
    draw, record = random.Random(8), {"run_id": "r", "state": "running", "error": None}
    found = set()
    for _ in range(TRIES["status"] * FUZZ):
        folder.content = damaged(draw, record)
        found.add(read_state(folder))
        end_status(folder, "r", None)
    assert found == {"running", None}


def test_a_hundred_thousand_inputs_are_tried() -> None:
    assert sum(TRIES.values()) >= 100_000


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
            for _ in range(TRIES["arguments"] * FUZZ // 6):
                argv = [draw.choice(draw.choice((OPTIONS, ARGUMENTS))) for _ in range(draw.randint(0, 7))]
                assert outcome(lambda: job.main(argv)) in ("read", "0", "2")  # noqa: B023  # called at once
            capsys.readouterr()
    assert parser("train", "").parse_args(["--config", "x"]).config == "x"
