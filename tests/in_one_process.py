"""Runs many tasks in one process, as `invoke` would run each: a process of its own costs 0.4 s.

Reads lines of JSON from stdin, each a folder and a command to run there, and writes a line for
each: its exit code, and all that it and its children wrote to either stream.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Generator
from typing import IO

from invoke.program import Program


def run(command: str) -> int:
    """Run `invoke COMMAND`, and give its exit code."""
    try:
        Program().run(["invoke", *shlex.split(command)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@contextlib.contextmanager
def streams_to(file: IO[bytes]) -> Generator[None]:
    """Let both streams, of our children too, go to a file."""
    kept = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, stream in zip((1, 2), kept, strict=True):
            os.dup2(stream, number)
            os.close(stream)


def main() -> None:
    """Run every command that stdin names."""
    for line in sys.stdin.read().splitlines():
        folder, command = json.loads(line)
        os.chdir(folder)
        with tempfile.TemporaryFile() as file:
            with streams_to(file):
                code = run(command)
            file.seek(0)
            wrote = file.read().decode(errors="surrogateescape")
        sys.stdout.write(json.dumps({"command": command, "code": code, "wrote": wrote}) + "\n")


if __name__ == "__main__":
    main()
