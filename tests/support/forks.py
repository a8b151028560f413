"""Jobs in processes of their own that can be killed at a named point, started fast: forked, and all on one warm JVM.

A job's Python process really dies, by SIGKILL; the JVM, which holds nothing that a job keeps, lives on, so that the
next job need not start one. What a JVM that dies in the middle of a write leaves is tested with one of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Forks:
    """Runs one job at a time."""

    def __init__(self, server: subprocess.Popen[str], home: Path) -> None:
        self._server, self._home = server, home

    def start(self, job: str, *argv: str, kill_at: str = "never") -> int:
        """Start `jobs/<job>.py`; gives its process id. It dies at `before NAME` or `after NAME` of a kill point."""
        self._tell({"job": job, "argv": argv, "kill_at": kill_at})
        return int(self._answer())

    def wait(self) -> tuple[int, str]:
        """How the job ended, negative for a signal, and what it had printed."""
        code = int(self._answer())
        return code, (self._home / "job.out").read_text("utf-8")

    def run(self, job: str, *argv: str, kill_at: str = "never") -> tuple[int, str]:
        self.start(job, *argv, kill_at=kill_at)
        return self.wait()

    def recorded(self, run_id: str) -> list[str]:
        """The steps of a run that jobs have recorded so far, in their order."""
        lines = (self._home / "recorded").read_text("utf-8").splitlines()
        return [line.removeprefix(f"{run_id} ") for line in lines if line.startswith(f"{run_id} ")]

    def _tell(self, order: dict[str, object]) -> None:
        assert self._server.stdin
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()

    def _answer(self) -> str:
        assert self._server.stdout
        while line := self._server.stdout.readline():
            if line.startswith("FORKS "):
                return line.removeprefix("FORKS ")
        raise AssertionError(f"the server ended: {(self._home / 'server.err').read_text('utf-8')[-2000:]}")


@contextmanager
def forks(home: Path) -> Iterator[Forks]:
    home.mkdir()
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    with (home / "server.err").open("w") as said:
        server = subprocess.Popen(
            [sys.executable, __file__], env=environment, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=said, text=True,
        )  # fmt: skip
        try:
            yield Forks(server, home)
        finally:
            assert server.stdin
            server.stdin.close()
            server.wait(timeout=60)


def die_in_a_write(job: str, *argv: str, home: Path, files: str) -> None:
    """Run `jobs/<job>.py` with a JVM of its own; both die as soon as a file is there that fits the pattern."""
    place = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}
    said = home / f"{job}.dying"
    with said.open("wb") as out:
        dying = subprocess.Popen(
            [sys.executable, str(ROOT / f"jobs/{job}.py"), *argv], env=place, cwd=home, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        while not any(home.glob(files)):
            assert dying.poll() is None, said.read_text("utf-8")[-2000:]
            time.sleep(0.01)
    finally:
        os.killpg(dying.pid, signal.SIGKILL)
        dying.wait()


def serve() -> None:
    """Read one order a line; answer with the job's process id, and when it has ended with its exit code."""
    from pyspark import SparkConf
    from pyspark.java_gateway import launch_gateway

    from imbalance_spark.core.spark_session import delta_package
    from jobs import score, train

    jobs = {"train": train.main, "score": score.main}
    conf = SparkConf(loadDefaults=False).set("spark.jars.packages", delta_package())
    gateway = launch_gateway(conf.set("spark.driver.memory", "2g"))
    contexts = getattr(getattr(gateway.jvm.org.apache.spark, "SparkContext$"), "MODULE$")
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_the_job(jobs[order["job"]], order, gateway.gateway_parameters)
        _say(pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        left = contexts.getActive()
        if left.isDefined():
            left.get().stop()
        _say(code)
    gateway.shutdown()


def _say(number: int) -> None:
    sys.stdout.write(f"FORKS {number}\n")
    sys.stdout.flush()


def _be_the_job(main: Callable[[Sequence[str]], int], order: dict[str, Any], parameters: Any) -> None:
    out = os.open("job.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    # As under spark-submit: Spark connects to a JVM that is there.
    os.environ["PYSPARK_GATEWAY_PORT"] = str(parameters.port)
    os.environ["PYSPARK_GATEWAY_SECRET"] = parameters.auth_token
    code = 70
    try:
        _set_kill_points(order["kill_at"])
        code = main(order["argv"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _set_kill_points(kill_at: str) -> None:
    """A step of the ledger by its name, and these functions by theirs."""
    from imbalance_spark.comparison import compare, evidence, record
    from imbalance_spark.core.run import Run
    from imbalance_spark.scoring import batch as score_batch

    def dying(original: Callable[..., Any], name_of: Callable[[tuple[Any, ...]], str], is_step: bool) -> Any:
        def patched(*args: Any, **kwargs: Any) -> Any:
            name = name_of(args)
            if kill_at == f"before {name}":
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if is_step:
                with Path("recorded").open("a") as file:
                    file.write(f"{args[0].run_id} {name}\n")
            if kill_at == f"after {name}":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return patched

    Run.record = dying(Run.record, lambda args: args[1], True)  # type: ignore[method-assign]
    patched = ((compare, "evaluate_strategy"), (record, "log_bundle"), (record, "register_version"))
    setattr(evidence, "pngs", lambda figures: dict.fromkeys(figures, b""))  # noqa: B010  # drawn elsewhere, and slow
    for module, name in (*patched, (record, "promote"), (score_batch, "write_batch")):
        setattr(module, name, dying(getattr(module, name), lambda _, name=name: name, False))


if __name__ == "__main__":
    serve()
