"""A supply of test databases: some are made ahead, by threads, while the tests run.

A test that takes one starts the making of the next; what it gives back is dropped by the same
threads, when nothing is to be made. So a test waits for a database only where tests are faster
than the server.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import psycopg

from headwater.errors import HeadwaterError, Unreachable
from headwater.model import Notify, Target, ignore
from headwater.postgres.connect import (
    Connection,
    has_heard,
    hide_nothing_here,
    hides_variables,
)
from headwater.testing.databases import Database
from headwater.testing.making import Cloner, disown
from headwater.testing.project import Contents, Project

# How many are kept ready of what tests ask for; how many threads make them: as many as there are
# processors for us, from two to four, for what they wait for is the server's work (on two a third
# one takes turns with the tests); how many that came back may wait until dropping comes first
# (10 MB each, for some forty tables).
AHEAD = 4
_PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
_THREADS = min(max(_PROCESSORS or 1, 2), 4)
_BACKLOG = 16


class Supply:
    """Gives test databases and takes them back. Used by one process; any of its threads may."""

    def __init__(
        self, server: Target, project: Project, *, ahead: int = AHEAD, notify: Notify = ignore
    ) -> None:
        """Remember where; nothing is connected or made yet. `ahead` = 0: nothing is made ahead."""
        self._begin_anew(server, project, ahead, notify)
        _supplies.add(self)

    def _begin_anew(self, server: Target, project: Project, ahead: int, notify: Notify) -> None:
        self.cloner = Cloner(server, project, notify=notify)
        self.connects = False
        """Whether a connection to what is made ahead is opened ahead, too."""
        self._ahead = ahead
        self._changed = threading.Condition()
        self._ready = defaultdict[Contents, deque[Database]](deque)
        self._making = Counter[Contents]()
        self._still_wanted = Counter[Contents]()
        self._expected = set[Contents]()
        self._held_back = set[Contents]()
        self._seen = set[Contents]()
        self._connections = dict[str, Connection]()
        self._returned = deque[str]()
        self._left = list[str]()
        self._threads = list[threading.Thread]()
        self._closed = threading.Event()
        self._process = os.getpid()

    @property
    def project(self) -> Project:
        """Give the project whose databases these are."""
        return self.cloner.project

    @property
    def _is_inherited(self) -> bool:
        """Say whether this is a forked child: all of it, and its databases, are the parent's."""
        return self._process != os.getpid()

    def expect(self, contents: Contents, count: int) -> None:
        """Say that about `count` more of these will be asked for: the first ones are made now."""
        with self._changed:
            self._expected.add(contents)
            self._leave_the_first_with_seeds(contents)
            self._still_wanted[contents] += count
            self._changed.notify_all()  # the threads are there, perhaps, and have nothing to do
        self._begin()

    def take(self, contents: Contents) -> Database:
        """Give a database that nobody else has; wait for it, or make it here, when none is ready.

        Raises what Cloner.make raises.
        """
        if self._is_inherited:
            # None of it is this process's own: not the databases, and the threads are not here.
            self._begin_anew(self.cloner.server, self.project, 0, self.cloner.notify)
        with self._changed:
            self._count(contents)
            self._changed.notify_all()
            while not self._ready[contents] and self._making[contents]:
                self._changed.wait()
            if self._ready[contents]:
                return self._ready[contents].popleft()
        made = self.cloner.make(contents)
        with self._changed:
            self._held_back.discard(contents)
            self._changed.notify_all()
        return made

    def _leave_the_first_with_seeds(self, contents: Contents) -> None:
        """Let the first database with seeds be made by who takes it.

        A seed in Python may print, and while it runs the output of a test would go astray.
        """
        if contents.seeded and contents not in self._seen:
            self._held_back.add(contents)
        self._seen.add(contents)

    def _count(self, contents: Contents) -> None:
        """Count one that is taken; whoever asks once and never again gets none made ahead."""
        self._leave_the_first_with_seeds(contents)
        if contents in self._expected:
            self._still_wanted[contents] = max(self._still_wanted[contents] - 1, 0)
        elif self._ahead:
            self._still_wanted[contents] = min(self._still_wanted[contents] + 1, self._ahead)
            if self._still_wanted[contents] > 1:
                self._begin()

    def connection(self, database: Database) -> Connection:
        """Give a connection to a database that was taken: the one that was opened ahead, if any."""
        connection = self._connections.pop(database.name, None)
        return connection if connection and _answers(connection) else database.connect()

    def leave(self, database: Database) -> None:
        """Close the connection that was opened ahead, if any: who takes this wants to be alone."""
        if connection := self._connections.pop(database.name, None):
            connection.close()

    def give_back(self, database: Database) -> None:
        """Take a database back, to be dropped soon; with whatever session is left in it.

        What cannot be dropped is no fault of the test: it is swept by the next run.
        """
        if self._is_inherited:
            return
        self.leave(database)
        with self._changed:
            if self._threads and not self._closed.is_set():
                self._returned.append(database.name)
                self._changed.notify_all()
                return
        self._drop(self.cloner, database.name)

    @contextmanager
    def fresh(self, contents: Contents) -> Generator[Database]:
        """Take a database in which nobody is, and give it back whatever happens."""
        database = self.take(contents)
        self.leave(database)
        try:
            yield database
        finally:
            self.give_back(database)

    def keep(self, database: Database, note: str) -> None:
        """Leave a database where it is, with one more line in its comment."""
        self.leave(database)
        self.cloner.add_note(database.name, note)

    def close(self) -> None:
        """Drop what was made ahead and what came back, and close the connections."""
        if self._is_inherited:
            return
        with self._changed:
            self._closed.set()
            for databases in self._ready.values():
                for database in databases:
                    self.leave(database)
                    self._returned.append(database.name)
                databases.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        # What a thread could not drop, as it had lost its session and was to open no other.
        left, self._left = self._left, []
        with suppress(HeadwaterError):
            for name in left:
                self.cloner.drop(name)
        self.cloner.close()

    # --- threads ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start the threads, once."""
        with self._changed:
            if self._ahead and not self._threads and not self._closed.is_set():
                self._threads += [
                    threading.Thread(
                        target=self._work, args=(each,), name=f"headwater supply {n}", daemon=True
                    )
                    for n, each in enumerate(self._cloners_for_threads())
                ]
                for thread in self._threads:
                    thread.start()

    def _cloners_for_threads(self) -> list[Cloner]:
        """Give each thread what makes databases; connected where a thread itself could not."""
        cloners = [
            Cloner(
                self.cloner.server,
                self.project,
                notify=self.cloner.notify,
                given_up=self._closed,
            )
            for _ in range(_THREADS)
        ]
        if hides_variables(self.cloner.server):
            with suppress(HeadwaterError):  # whoever takes a database is told
                for each in cloners:
                    with each.connection():
                        pass
        return cloners

    def _work(self, cloner: Cloner) -> None:
        """Make and drop, until the supply is closed and nothing is left to drop."""
        hide_nothing_here()
        with cloner:
            while job := self._next_job(cloner):
                job()

    def _next_job(self, cloner: Cloner) -> Callable[[], None] | None:
        with self._changed:
            while True:
                lacking = None if self._closed.is_set() else self._lacking()
                if self._returned and (lacking is None or len(self._returned) > _BACKLOG):
                    name = self._returned.popleft()
                    return lambda: self._drop(cloner, name)
                if lacking is not None:
                    self._making[lacking] += 1
                    return lambda: self._make(cloner, lacking)
                if self._closed.is_set():
                    return None
                self._changed.wait()

    def _lacking(self) -> Contents | None:
        """Give what more are wanted of than are ready or being made."""
        for contents, count in self._still_wanted.items():
            if contents in self._held_back:
                continue
            there = len(self._ready[contents]) + self._making[contents]
            if there < min(count, self._ahead):
                return contents
        return None

    def _make(self, cloner: Cloner, contents: Contents) -> None:
        made = None
        try:
            # Whoever takes the next one makes it, and is told what is wrong; until one is made so,
            # none is made ahead. (A thread that died of it would leave others waiting.)
            with suppress(Exception):
                made = cloner.make(contents)
                if self.connects and not self._closed.is_set():
                    self._connections[made.name] = made.connect()
        finally:
            with self._changed:
                self._making[contents] -= 1
                if made is None:
                    self._held_back.add(contents)
                elif self._closed.is_set():
                    self.leave(made)
                    self._returned.append(made.name)
                else:
                    self._ready[contents].append(made)
                self._changed.notify_all()

    def _drop(self, cloner: Cloner, name: str) -> None:
        with suppress(Exception):
            try:
                cloner.drop(name)
            except Unreachable:
                self._left.append(name)
                raise


def _answers(connection: Connection) -> bool:
    """Say whether a session that was opened ahead is still there: it has been idle for a while.

    A server that ends a session says so, and nothing else comes unasked but for a notice: where
    nothing has come, a round trip is spared, for which a busy server takes its time.
    """
    try:
        if has_heard(connection):
            connection.execute("SELECT")
    except (psycopg.Error, OSError):
        connection.close()
        return False
    return True


_supplies = weakref.WeakSet[Supply]()


def _disown_all() -> None:
    """In a forked child: the connections that were opened ahead are the parent's."""
    for supply in list(_supplies):
        for connection in supply._connections.values():
            disown(connection)


os.register_at_fork(after_in_child=_disown_all)
