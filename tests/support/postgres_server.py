"""A private PostgreSQL server for tests: its own cluster in a temporary folder, on a free port of this machine."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

REQUIRED = "IMBALANCE_SPARK_REQUIRE_POSTGRES"
"""Where this variable is set, tests fail that find no PostgreSQL."""


def binaries() -> str | None:
    """The folder of `initdb` and `pg_ctl`; None where PostgreSQL is not installed."""
    # Debian keeps them off the PATH.
    places = [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True), *os.environ["PATH"].split(os.pathsep)]
    return next((place for place in places if shutil.which("initdb", path=place)), None)


@contextmanager
def running(folder_of_binaries: str) -> Iterator[str]:
    """A server that lives as long as the block; gives the address for SQLAlchemy."""
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    home = tempfile.mkdtemp(prefix="postgres-")
    if user is not None:
        shutil.chown(home, user)
    data, log = f"{home}/data", f"{home}/log"

    def run(name: str, *arguments: str) -> None:
        command = [f"{folder_of_binaries}/{name}", *arguments]
        done = subprocess.run(
            command, user=user, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, done.stderr

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        run("initdb", "--pgdata", data, "--username", "orders", "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        options = f"-h 127.0.0.1 -p {port} -k {home} -F"
        run("pg_ctl", "--pgdata", data, "--log", log, "--options", options, "--wait", "start")
        try:
            # The driver by name: SQLAlchemy's default has changed between its versions.
            yield f"postgresql+psycopg2://orders@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--pgdata", data, "--mode", "immediate", "--wait", "stop")
    finally:
        shutil.rmtree(home)
