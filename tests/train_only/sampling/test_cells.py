"""Approximate cells: bounded, the same on any layout, and near enough to the truth."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.neighbours import in_memory as held
from imbalance_spark.train_only.sampling.neighbours import lists
from imbalance_spark.train_only.sampling.neighbours import on_cluster as search
from imbalance_spark.train_only.sampling.neighbours.in_cells import CellRows, fit_searched_partition, nearest_in_cells
from imbalance_spark.train_only.sampling.neighbours.kmeans import PROBES, _nearest_centres, fit_partition
from imbalance_spark.train_only.sampling.neighbours.lists import merged_in_memory, nearest_lists
from imbalance_spark.train_only.sampling.neighbours.on_cluster import collect_points, search_by_scan, search_cells
from imbalance_spark.train_only.sampling.neighbours.space import PointArrays, Space

WIDTH = 8
SPACE = Space(
    numeric=tuple(f"f{i}" for i in range(WIDTH)), scale=FeatureScale(divisors=(1.0,) * WIDTH, means=(0.0,) * WIDTH)
)


def made(rows: int, seed: int = 0, repeated: int = 0) -> PointArrays:
    draws = np.random.default_rng(seed)
    values = draws.normal(size=(rows, 3)) @ draws.normal(size=(3, WIDTH)) + 0.01 * draws.normal(size=(rows, WIDTH))
    values[:repeated] = 1.25
    hashes = np.sort(draws.integers(0, 1 << 62, rows))
    return PointArrays(hashes=hashes, codes=np.zeros(rows, np.int32), values=values)


def test_cells_are_small_also_with_many_equal_rows() -> None:
    points = made(40_000, repeated=20_000)
    partition = fit_partition(points, SPACE, len(points), seed=7)
    sizes = np.bincount(partition.cells(points)[:, 0])
    # Some 1.4 sqrt(rows) centres, and none with more than four times its share, but for what the sample misses.
    assert sizes.max() < 6 * math.sqrt(len(points)) / 1.4


def test_a_point_lies_with_the_nearest_centre_and_looks_at_the_next() -> None:
    points = made(3000)
    partition = fit_partition(points, SPACE, len(points), seed=7)
    whole = partition._whole(points.values).astype(np.float64)
    squares = np.square(whole[:, None] - partition.centres[None]).sum(axis=2)
    centre = np.repeat(np.arange(len(partition.parts)), partition.parts)[partition.cells(points)]
    found = np.take_along_axis(squares, centre, axis=1)
    np.testing.assert_array_equal(found, np.sort(squares, axis=1)[:, : partition.probes])


def test_the_cell_of_a_row_does_not_hang_on_the_rows_beside_it() -> None:
    points = made(5000)
    partition = fit_partition(points, SPACE, 100_000, seed=7)
    whole = partition.cells(points)
    for start, stop in ((0, 1), (17, 24), (999, 4096)):
        np.testing.assert_array_equal(partition.cells(points.where(np.arange(start, stop))), whole[start:stop])


@pytest.fixture(scope="module")
def frame(spark: SparkSession):  # type: ignore[no-untyped-def]  # a fixture of the frame and its points
    points = made(6000)
    columns = {"__hash": points.hashes, "__code": points.codes}
    columns |= {f"__x_{i}": points.values[:, i] for i in range(WIDTH)}
    return spark.createDataFrame(pd.DataFrame(columns)).repartition(5).localCheckpoint(), points


def near(found) -> dict[int, list[tuple[float, int]]]:  # type: ignore[no-untyped-def]
    return {row["__hash"]: [(n["distance"], n["near"]) for n in row["__near"]] for row in found.collect()}


@pytest.mark.parametrize("lists_of_task", [100, 1 << 18])
def test_both_exact_searches_find_what_brute_force_finds(
    frame: Any, monkeypatch: pytest.MonkeyPatch, lists_of_task: int
) -> None:
    table, points = frame
    monkeypatch.setattr(lists, "_LISTS_OF_TASK", lists_of_task)
    monkeypatch.setattr(search, "_SCAN_ROWS", 500)
    squares = np.square(points.values[:300, None] - points.values[None]).sum(axis=2)
    squares[np.arange(300), np.arange(300)] = np.inf
    order = np.argsort(squares, axis=1, kind="stable")[:, :5]
    expected = {int(points.hashes[i]): [int(points.hashes[j]) for j in order[i]] for i in range(300)}
    for found in (
        near(search_by_scan(table, points.where(np.arange(300)), SPACE, 5)),
        near(held.InMemoryIndex(points=collect_points(table, "test"), space=SPACE).nearest(table.sparkSession, 5)),
    ):
        assert {name: [other for _, other in found[name]] for name in expected} == expected


def test_cells_find_most_neighbours_and_the_same_on_any_layout(frame) -> None:  # type: ignore[no-untyped-def]
    table, points = frame
    partition = fit_partition(points, SPACE, len(points), seed=7)
    every = lambda rows: np.ones(len(rows), np.bool_)  # noqa: E731
    found = near(search_cells(table, partition, SPACE, 5, queries=len(points), is_query=every))
    again = near(
        search_cells(
            table.coalesce(1).orderBy(F.desc("__hash")), partition, SPACE, 5, queries=len(points), is_query=every
        )
    )
    assert found == again
    exact = {
        row["__hash"]: {n["near"] for n in row["__near"]} for row in nearest_lists(SPACE, points, points, 5).to_pylist()
    }
    hits = sum(other in exact[name] for name, others in found.items() for _, other in others)
    assert hits / (5 * len(points)) > 0.95
    assert all(name != other for name, others in found.items() for _, other in others)


def test_only_the_asked_cells_are_looked_at_and_give_the_same_lists(frame) -> None:  # type: ignore[no-untyped-def]
    table, points = frame
    partition = fit_partition(points, SPACE, len(points), seed=7)
    asked = points.where(np.arange(40))
    only = lambda rows: np.isin(rows.hashes, asked.hashes)  # noqa: E731
    whole = near(search_cells(table, partition, SPACE, 5, queries=40, is_query=only))
    assert len(whole) == 40
    assert (
        near(search_cells(table, partition, SPACE, 5, queries=40, is_query=only, among=partition.cells(asked))) == whole
    )


@pytest.mark.parametrize("block", [300, 1 << 17])
def test_cells_in_memory_and_on_the_cluster_give_the_same_lists(
    frame: Any, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    table, points = frame
    monkeypatch.setattr(held, "_CELL_QUERIES", block)
    partition = fit_partition(points, SPACE, 40_000, seed=7)
    every = lambda rows: np.ones(len(rows), np.bool_)  # noqa: E731
    index = held.InMemoryIndex.by_cells(points, SPACE, partition.cells(points))
    found = index.ranked(table.sparkSession, 5, "test")
    assert near(found) == near(search_cells(table, partition, SPACE, 5, queries=len(points), is_query=every))
    assert {row["__rank"]: row["__hash"] for row in found.collect()} == dict(enumerate(points.hashes.tolist()))


def test_cells_of_few_rows_have_lists_of_what_is_there(frame: Any) -> None:
    table, points = frame
    few = points.where(np.arange(4))
    index = held.InMemoryIndex.by_cells(few, SPACE, fit_partition(few, SPACE, 4, seed=7).cells(few))
    found = near(index.nearest(table.sparkSession, 5))
    assert len(found) == 4
    for name, entries in found.items():
        others = [other for _, other in entries]
        assert 1 <= len(others) == len(set(others)) <= 3
        assert set(others) <= set(few.hashes.tolist()) - {name}


@pytest.mark.parametrize("levels", [0, 3])
def test_in_its_cells_a_query_finds_what_brute_force_finds_there_ties_by_position(levels: int) -> None:
    points = made(2500, repeated=300)
    if levels:
        points = PointArrays(hashes=points.hashes, codes=points.codes, values=np.rint(points.values[:, :2] * levels))
    space = Space(
        numeric=SPACE.numeric[: points.values.shape[1]],
        scale=FeatureScale(divisors=(1.0,) * points.values.shape[1], means=(0.0,) * points.values.shape[1]),
    )
    cells = fit_partition(points, space, len(points), seed=7).cells(points)
    places = np.arange(0, len(points), 7)
    found = nearest_in_cells(space, points.values, CellRows.of(cells), places, 5)
    for query, positions, distances in zip(places, found.positions, found.distances, strict=True):
        reached = np.flatnonzero(np.isin(cells[:, 0], cells[query]) & (np.arange(len(points)) != query))
        squares = np.square(points.values[reached] - points.values[query]).sum(axis=1)
        order = np.argsort(squares, kind="stable")[:5]
        np.testing.assert_array_equal(positions, reached[order])
        np.testing.assert_array_equal(distances, np.sqrt(squares[order]))


def test_lists_merge_to_the_nearest_of_all_and_empty_ones_stay() -> None:
    draws = np.random.default_rng(5)
    rows = []
    for query in draws.integers(0, 20, 200).tolist():
        entries = sorted(
            (float(d), int(n), 1) for d, n in zip(draws.integers(0, 4, 3), draws.permutation(99), strict=False)
        )
        names = ("distance", "near", "code")
        rows.append({"__hash": query, "__code": 1, "__near": [dict(zip(names, e, strict=True)) for e in entries]})
    rows += [{"__hash": 50, "__code": 2, "__near": []}]
    expected = {
        query: sorted(tuple(entry.values()) for row in rows if row["__hash"] == query for entry in row["__near"])[:4]
        for query in {row["__hash"] for row in rows}
    }
    found = merged_in_memory(pa.Table.from_pylist(rows, schema=lists.ARROW), 4).to_pylist()
    assert {row["__hash"]: [tuple(entry.values()) for entry in row["__near"]] for row in found} == expected
    assert {row["__code"] for row in found if row["__hash"] == 50} == {2}
    assert merged_in_memory(lists.ARROW.empty_table(), 4).num_rows == 0


@pytest.mark.parametrize("wanted", [1, 4, 8])
def test_of_equally_near_centres_those_of_the_lowest_numbers_are_kept(wanted: int) -> None:
    draws = np.random.default_rng(3)
    centres = draws.integers(0, 4, (150, 2)).astype(np.float32)
    whole = draws.integers(0, 4, (500, 2)).astype(np.float32)
    squares = np.square(whole[:, None, :] - centres[None, :, :]).sum(axis=2)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :wanted]
    np.testing.assert_array_equal(_nearest_centres(whole, centres, wanted, threads=2), expected)


@pytest.mark.parametrize(("dimensions", "probes"), [(2, PROBES // 2), (16, PROBES)])
def test_data_of_few_dimensions_need_fewer_cells_than_data_of_many(dimensions: int, probes: int) -> None:
    draws = np.random.default_rng(1)
    values = draws.normal(size=(20_000, dimensions)) @ np.linalg.qr(draws.normal(size=(16, dimensions)))[0].T
    points = PointArrays(hashes=made(20_000).hashes, codes=np.zeros(20_000, np.int32), values=values)
    space = Space(numeric=("f",) * 16, scale=FeatureScale(divisors=(1.0,) * 16, means=(0.0,) * 16))
    partition, cells = fit_searched_partition(points, space, len(points), seed=7)
    assert partition.probes == probes
    np.testing.assert_array_equal(cells, partition.cells(points))
