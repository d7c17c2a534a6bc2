"""A process that has loaded everything, and forks for each run of `invoke`.

A run is a process of its own all the same, with its own folder, environment, streams and exit
code; it only saves what starting Python and loading the driver and the parser would cost, which
would be most of the time of several hundred runs.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent

# A run that hangs is ended by SIGALRM, which nobody could take for an exit code of ours.
_LONGEST_S = 60


@dataclass(frozen=True, slots=True)
class Warm:
    """The process that forks; it is asked for one run at a time."""

    process: subprocess.Popen[str]
    turn: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, root: Path, arguments: list[str], environment: Mapping[str, str]
    ) -> tuple[int, str, str]:
        """Run `invoke ARGUMENTS` in a folder; give its exit code, and what it wrote to each stream.

        Raises TimeoutError for one that hangs.
        """
        with self.turn, tempfile.TemporaryDirectory() as folder:
            out, err = (Path(folder) / name for name in ("out", "err"))
            code = self._ask([str(root), arguments, dict(environment), str(out), str(err)])
            wrote, said = (path.read_text("utf-8", "surrogateescape") for path in (out, err))
        if code == -signal.SIGALRM:
            raise TimeoutError(f"{arguments} in {root} took over {_LONGEST_S} s:\n{wrote}{said}")
        return code, wrote, said

    def _ask(self, request: list[object]) -> int:
        """Send one request, and wait for the exit code; whatever comes between ends the process.

        (The answer would be taken for that to the next request.)
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            if not (answer := self.process.stdout.readline()):
                raise EOFError("the process that runs the tasks has died")
            return int(answer)
        except BaseException:
            self.process.kill()
            shared.cache_clear()
            raise


@cache
def shared() -> Warm:
    """Give the one process of this run of the tests (of this worker's, if there are several).

    It is started when first asked for, and ended with the tests.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate, timeout=_LONGEST_S)
    return Warm(process)


def serve() -> None:
    """Answer each line of stdin: fork, run, and write the exit code."""
    _load_everything()
    for line in sys.stdin:
        root, arguments, environment, out, err = json.loads(line)
        child = os.fork()
        if child == 0:
            _run_and_exit(root, arguments, environment, out, err)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _load_everything() -> None:
    import dotenv.parser  # noqa: F401
    import invoke.main  # noqa: F401
    import psycopg  # noqa: F401

    import headwater.checks.linting
    import headwater.checks.proof
    import headwater.files.grammar
    import headwater.postgres.reset
    import headwater.postgres.run
    import headwater.postgres.seal
    import headwater.postgres.sequence
    import headwater.postgres.stepwise
    import headwater.report.judged  # noqa: F401


def _run_and_exit(
    root: str, arguments: list[str], environment: dict[str, str], out: str, err: str
) -> None:
    """Be the process that a shell would have started, as far as the task can tell."""
    code = 1
    try:
        signal.alarm(_LONGEST_S)
        os.chdir(root)
        os.environ.clear()
        os.environ.update(environment)
        _redirect(out, err)
        sys.argv = ["invoke", *arguments]
        sys.path[0] = root
        from invoke.main import program

        try:
            program.run()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
        except BaseException:  # noqa: BLE001 - as Python ends a process that nobody has caught it in
            traceback.print_exc()
        with suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)


def _redirect(out: str, err: str) -> None:
    """Let each stream write to a file, encoded as the environment says."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, os.open(out, flags), os.open(err, flags))):
        os.dup2(descriptor, number)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the stream of the process
    sys.stdout = _stream(1, encoding, "strict")
    sys.stderr = _stream(2, encoding, "backslashreplace")


def _stream(number: int, encoding: str, errors: str) -> io.TextIOWrapper:
    raw = os.fdopen(number, "wb", closefd=False)
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, write_through=True)


if __name__ == "__main__":
    serve()
