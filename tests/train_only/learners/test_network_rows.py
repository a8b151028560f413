"""What a network learns from: scales as NumPy finds them, batches that no layout changes, and a start that says so."""

import tempfile

import numpy as np
import pytest
from support.networks import rows_of_network

from imbalance_spark.train_only.learners.network_rows import (
    Batches,
    LearnedRows,
    batches_of,
    collect_inputs,
    initial_network,
    table_size,
)
from imbalance_spark.train_only.learners.spill import SpilledRows, hashes_of


def learned(values: np.ndarray, *, is_weighed: bool = False) -> LearnedRows:
    """Rows of features, label and weight as a worker has them on disk."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the rows are a map of it
    rows = SpilledRows(file=file, features=values.shape[1] - 1 - is_weighed, is_weighed=is_weighed)
    rows.append(values.astype(np.float32))
    return LearnedRows.of(rows)


def labelled(rows: int, seed: int = 1) -> np.ndarray:
    """No two rows are equal, by their labels."""
    return np.column_stack([rows_of_network(rows, seed), np.arange(rows)])


def test_scales_are_those_of_the_values_that_are_there() -> None:
    values = labelled(1000)
    values[values[:, 0] > 1e20, 0] = 5.0
    inputs = collect_inputs(learned(values), 2, most=64)
    numbers = values.astype(np.float32)[:, :2].astype(np.float64)
    np.testing.assert_allclose(inputs.centres, np.nanmean(numbers, axis=0), rtol=1e-12)
    np.testing.assert_allclose(inputs.widths, np.nanstd(numbers, axis=0), rtol=1e-12)
    assert inputs.entries == (7,)  # six codes, and one entry for the others


def test_a_feature_without_values_is_zero_and_has_one_entry() -> None:
    values = labelled(50)
    values[:, 0], values[:, 1], values[:, 2] = 7.0, np.nan, np.nan
    inputs = collect_inputs(learned(values), 2, most=64)
    numbers = inputs.numbers(values[:, :3].astype(np.float32))
    assert (numbers == [0.0, 0.0, 0.0, 1.0]).all()
    assert inputs.entries == (1,)
    assert (inputs.codes(values[:, :3].astype(np.float32)) == 0).all()
    assert collect_inputs(learned(values[:0]), 2, most=64).widths.tolist() == [1.0, 1.0]


def test_codes_behind_the_most_frequent_share_the_entry_of_unseen_ones() -> None:
    values = np.column_stack([[0.0, 9_999.0, 10_000.0, 123_456.0], [0, 0, 1, 1]])
    inputs = collect_inputs(learned(values), 0, most=64)
    assert inputs.codes(values[:, :1].astype(np.float32)).tolist() == [[0], [9_999], [10_000], [10_000]]


def test_weights_are_one_where_rows_have_none() -> None:
    values = np.column_stack([labelled(5), [1.0, 2.0, 3.0, 4.0, 5.0]])
    chosen = np.array([4, 0])
    assert learned(values, is_weighed=True).weights(chosen).tolist() == [5.0, 1.0]
    assert learned(values[:, :-1]).weights(chosen).tolist() == [1.0, 1.0]
    assert learned(values, is_weighed=True).labels(chosen).tolist() == [4, 0]


def in_batches(parts: list[np.ndarray], epoch: int, seed: int = 7) -> list[set[bytes]]:
    """Rows by batch, of all workers together."""
    total = sum(map(len, parts))
    batches: list[set[bytes]] = []
    for part in parts:
        of_worker = Batches(hashes_of(part.astype(np.float32)), total, 100, seed)
        for number, chosen in enumerate(of_worker.of_epoch(epoch)):
            batches += [set()] * (number + 1 - len(batches))
            batches[number] = batches[number] | {part[row].astype(np.float32).tobytes() for row in chosen}
    return batches


def test_a_batch_holds_the_same_rows_on_any_number_of_workers_in_any_order() -> None:
    values = labelled(1000)
    shuffled = np.random.default_rng(2).permutation(values)
    whole = in_batches([values], 3)
    assert in_batches([shuffled[:300], shuffled[300:], shuffled[:0]], 3) == whole
    assert len(whole) == 10
    assert sum(map(len, whole)) == 1000
    # Binomial sizes of mean 100, five standard deviations.
    assert all(50 < len(batch) < 150 for batch in whole)


@pytest.mark.parametrize("other", [{"epoch": 4}, {"epoch": 3, "seed": 8}])
def test_each_epoch_and_seed_has_batches_of_its_own(other: dict[str, int]) -> None:
    values = labelled(1000)
    shared = [len(a & b) for a, b in zip(in_batches([values], 3), in_batches([values], **other), strict=True)]
    assert max(shared) < 30  # ten are expected by chance


def test_copies_of_a_row_are_spread_over_batches() -> None:
    values = np.repeat(labelled(10), 1000, axis=0)
    chosen = next(batches_of(learned(values), 1000, 7, most=64).of_epoch(0))
    copies = np.bincount(chosen // 1000, minlength=10)
    assert copies.min() > 50  # a hundred each


def test_rows_are_hashed_in_parts_as_they_are_in_one() -> None:
    values = labelled(200)
    found = batches_of(learned(values), 50, 7, most=64).of_epoch(2)
    expected = Batches(hashes_of(values.astype(np.float32)), 200, 50, 7).of_epoch(2)
    assert [chosen.tolist() for chosen in found] == [chosen.tolist() for chosen in expected]


def test_there_is_a_batch_also_for_few_rows() -> None:
    hashes = np.arange(3, dtype=np.uint64)
    assert [sorted(chosen) for chosen in Batches(hashes, 3, 1024, 7).of_epoch(0)] == [[0, 1, 2]]


@pytest.mark.parametrize("start", [(-5.3,), (-0.1, -3.0, -4.0)])
def test_a_network_begins_at_the_start_whatever_the_row(start: tuple[float, ...]) -> None:
    inputs = collect_inputs(learned(labelled(200)), 2, most=64)
    network = initial_network(inputs, (8, 4), start, seed=7)
    margins = network.inplace_predict(rows_of_network(100)).reshape(100, -1)
    np.testing.assert_allclose(margins, np.tile(np.float32(start), (100, 1)), rtol=1e-7)
    assert network.to_bytes() == initial_network(inputs, (8, 4), start, seed=7).to_bytes()
    assert network.to_bytes() != initial_network(inputs, (8, 4), start, seed=8).to_bytes()


def test_what_no_row_taught_adds_nothing() -> None:
    network = initial_network(collect_inputs(learned(labelled(200)), 2, most=64), (8,), (0.0,), seed=7)
    weights, _ = network.layers[0]
    assert (weights[:, 2:4] == 0.0).all()
    assert (network.tables[0][-1] == 0.0).all()
    assert np.std(weights[:, [0, 1, 4, 5, 6, 7]]) == pytest.approx(np.sqrt(2 / 8), rel=0.3)


@pytest.mark.parametrize(("entries", "size"), [(1, 1), (2, 1), (3, 2), (7, 4), (99, 50), (10_001, 50)])
def test_a_table_has_half_as_many_columns_as_entries_and_fifty_at_most(entries: int, size: int) -> None:
    assert table_size(entries) == size
