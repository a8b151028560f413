"""Which test files run first, and which share a process."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

LONGEST_FIRST = (
    "cluster/test_standalone.py", "cluster/test_other_python.py", "cluster/test_faults.py", "jobs/test_resume.py",
    "jobs/test_signals.py", "jobs/test_score_killed.py", "jobs/", "notebooks/", "train_only/",
)  # fmt: skip
"""Files and folders that take longest: none of them may be left to one process when the other is done.

`test_faults` is the last one on the cluster, of which it takes a node away for good.
"""


_GROUPS = {
    "cluster": ("cluster/",),
    "forks": ("jobs/test_resume.py", "jobs/test_signals.py", "jobs/test_score_killed.py"),
}


def name_of(file: Path) -> str:
    """The file's place below `tests`; for another file, its own name."""
    return file.relative_to(TESTS).as_posix() if file.is_relative_to(TESTS) else file.name


def rank_of(name: str) -> int:
    """Lower runs first; files of one rank keep their order."""
    return next((rank for rank, start in enumerate(LONGEST_FIRST) if name.startswith(start)), len(LONGEST_FIRST))


def group_of(name: str) -> str:
    """Tests of one group run in one process, which makes their fixtures once.

    The files on the cluster are one group, and so are those whose jobs are forked and killed on one warm JVM; any
    other file is a group of its own.
    """
    return next((group for group, starts in _GROUPS.items() if name.startswith(starts)), name)
