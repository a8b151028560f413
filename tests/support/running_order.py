"""Which test files run first, and which share a process: hooks of pytest and of pytest-xdist."""

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).resolve().parents[1]

LONGEST_FIRST = (
    "cluster/test_standalone.py", "cluster/test_other_python.py",
    "cluster/test_cluster_others_can_reach.py", "cluster/test_disturbed_stages.py", "cluster/test_faults.py",
    "jobs/test_resume.py", "jobs/test_signals.py",
    "jobs/test_score_killed.py", "jobs/", "notebooks/", "train_only/",
)  # fmt: skip
"""Files and folders that take longest: none of them may be left to one process when the other is done.

`test_faults` is the last one on the cluster, of which it takes a node away for good.
"""


_GROUPS = {
    "cluster": ("cluster/",),
    "forks": ("jobs/test_resume.py", "jobs/test_signals.py", "jobs/test_score_killed.py"),
}


def rank_of(node: str) -> int:
    """Lower runs first; tests of one rank keep their order."""
    name = _name_of(node)
    return next((rank for rank, start in enumerate(LONGEST_FIRST) if name.startswith(start)), len(LONGEST_FIRST))


def group_of(node: str) -> str:
    """Tests of one group run in one process, which makes their fixtures once.

    The files on the cluster are one group, and so are those whose jobs are forked and killed on one warm JVM; any
    other file is a group of its own.
    """
    name = _name_of(node)
    return next((group for group, starts in _GROUPS.items() if name.startswith(starts)), name)


def _name_of(node: str) -> str:
    return node.partition("::")[0].removeprefix("tests/")


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process of pytest-xdist one group after the other, in the order of the tests.

    Its own `--dist loadgroup` names groups in a way that pytest 9 does not read: each test would be a group.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # it would leave files of few tests, the longest ones, to the end
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)
