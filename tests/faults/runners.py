"""Runners as processes of their own, ready before they are needed."""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier

from headwater.files.read import read_folder
from headwater.model import MigrationFolder, Notify, Target
from headwater.postgres.run import migrate
from headwater.settings import Settings
from tests.faults.state import Ending, ending_of


@dataclass(frozen=True, slots=True)
class Ran:
    """How one runner ended, and what it applied itself."""

    ending: Ending
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Runner:
    """A process that runs what it is told, and tells how that ended."""

    pid: int
    pipe: Pipe

    def begin(self, target: Target, settings: Settings) -> None:
        """Let it read the folder and migrate, as soon as all of its round are there."""
        self.pipe.send((target, settings))

    def end(self) -> Ran:
        """Wait for it."""
        assert self.pipe.poll(60), "a runner does not come back"
        ran = self.pipe.recv()
        assert isinstance(ran, Ran)
        return ran


@contextmanager
def runners(count: int) -> Generator[Sequence[Runner]]:
    """Start so many processes; each round of them begins at the same moment."""
    context = mp.get_context("spawn")
    together = context.Barrier(count)
    processes, found = [], []
    for _ in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, together), daemon=True)
        process.start()
        assert process.pid is not None
        processes.append(process)
        found.append(Runner(process.pid, ours))
    try:
        yield found
    finally:
        for process in processes:
            process.kill()
            process.join()


def _migrate(
    target: Target, folder: MigrationFolder, settings: Settings, done: list[str], notify: Notify
) -> None:
    results = migrate(target, folder, settings, notify=notify).results
    done.extend(result.version for result in results)


def _work(pipe: Pipe, together: Barrier) -> None:
    os.setpgrp()  # Ctrl-C in the terminal of the tests is not for it
    while True:
        target, settings = pipe.recv()
        folder = read_folder(settings.migrations)
        done: list[str] = []
        together.wait(60)

        ending = ending_of(partial(_migrate, target, folder, settings, done))
        pipe.send(Ran(ending, tuple(done)))
