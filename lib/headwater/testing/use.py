"""A test database without pytest: for unittest, for scripts, for a prompt.

In a test, or at a prompt:

    from headwater.testing import database

    with database() as db, db.connect() as connection:
        connection.execute("insert into kb.orgs (name) values ('ours')")
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from unittest import SkipTest
from weakref import WeakKeyDictionary

from psycopg import conninfo

from headwater.errors import HeadwaterError, Unreachable
from headwater.model import Notify, ignore
from headwater.postgres.connect import parameters
from headwater.postgres.psql import url_of
from headwater.settings import Settings, load_settings
from headwater.testing.databases import Database, note_of_keeping
from headwater.testing.project import find_project, read_project
from headwater.testing.servers import server_for_tests
from headwater.testing.supply import AHEAD, Supply
from headwater.testing.sweeping import sweep_server


def open_supply(root: Path, *, ahead: int = AHEAD, notify: Notify = ignore) -> Supply:
    """Give a supply of a project's databases, after a look for what killed runs left behind."""
    project = read_project(root)
    server = server_for_tests(project.settings, notify)
    sweep_server(server)
    return Supply(server, project, ahead=ahead, notify=notify)


@contextmanager
def database(
    *,
    at: str | None = None,
    before: bool = False,
    seeded: bool = False,
    empty: bool = False,
    root: Path | str | None = None,
) -> Generator[Database]:
    """Give a fresh, migrated database; drop it afterwards, or keep it when the body fails.

    `at` is the last version that it is to have; with `before` the first that is missing. `seeded`
    runs the seeds, `empty` gives a database without anything. `root` is the project's folder
    (default: the nearest one at or above the working directory). A body that raises keeps the
    database as evidence, and a note on its error gives the URL.

    Raises SettingsError, FilesError, MigrationFailed, SeedFailed, or TargetError when there is no
    server.
    """
    supply = _supply(Path(root) if root else find_project(Path.cwd()))
    wanted = supply.project.contents(at=at, before=before, seeded=seeded, empty=empty)
    try:
        made = supply.take(wanted)
    except Unreachable:
        # The server is another one now, perhaps. (It is closed with the process: where nobody
        # answers that takes its time.)
        _forget(supply)
        raise
    try:
        yield made
    except BaseException as error:
        if _is_failure(error):
            _keep(supply, made, error)
        else:
            supply.give_back(made)
        raise
    supply.give_back(made)


def _is_failure(error: BaseException) -> bool:
    """Say whether a test failed: not when it is skipped, interrupted, or ends the process.

    What pytest.fail raises is no Exception.
    """
    if isinstance(error, Exception):
        return not isinstance(error, SkipTest)
    return type(error).__name__ == "Failed"


def _keep(supply: Supply, made: Database, error: BaseException) -> None:
    """Keep the evidence; what went wrong first stays the error."""
    try:
        supply.keep(made, note_of_keeping(f"{type(error).__name__} in process {os.getpid()}"))
    except HeadwaterError as second:
        error.add_note(f"{made.name} could not be kept: {second.message}")
    else:
        error.add_note(told_of(made))


def told_of(kept: Database) -> str:
    """Say where a database is that was kept, and what to do with it.

    The password of the private server, which nobody else can reach, is shown; no other.
    """
    return (
        f"the database of this test is kept: {_url_to_show(kept)}\n"
        f"  look into it: invoke db.psql --test {kept.name}\n"
        f"  drop it:      invoke db.drop {kept.name}"
    )


_Stamp = tuple[tuple[str, int, int], ...]
"""Paths, times and sizes of files."""

# What a URL may show; libpq knows more than one kind of secret.
_SHOWN = ("host", "hostaddr", "port", "user", "dbname", "service", "sslmode")


def _url_to_show(kept: Database) -> str:
    if kept.target.private:
        return kept.url
    known = {name: value for name, value in parameters(kept.target).items() if name in _SHOWN}
    return url_of(replace(kept.target, conninfo=conninfo.make_conninfo(**known)))


_supplies = dict[tuple[int, Path], Supply]()
_stamps = WeakKeyDictionary[Supply, _Stamp]()


def _supply(root: Path) -> Supply:
    """Give this process's supply of a project; a new one once files were edited.

    (At a prompt, and where tests are run again and again in one process, they are.)
    """
    key = (os.getpid(), root.resolve())
    known = _supplies.get(key)
    if known and _stamps[known] == _stamp_of(known.project.settings):
        return known
    if known:
        _forget(known)
        known.close()
        atexit.unregister(known.close)
    # (Before the files are read: what is saved meanwhile is seen the next time.)
    stamp = _stamp_of(load_settings(key[1]))
    opened = open_supply(key[1])
    _stamps[opened] = stamp
    supply = _supplies.setdefault(key, opened)
    if supply is opened:  # else another thread was faster
        atexit.register(opened.close)
    return supply


def _stamp_of(settings: Settings) -> _Stamp:
    """Tell the state of the files that databases are made of, without reading them."""
    found = list[tuple[str, int, int]]()
    for folder in (settings.migrations, settings.seeds_folder):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():  # not what Python keeps of modules beside them
                    facts = entry.stat()
                    found.append((entry.path, facts.st_mtime_ns, facts.st_size))
    return tuple(sorted(found))


def _forget(supply: Supply) -> None:
    """Let the next call open a new supply; what this one has given out, it takes back still."""
    for key, known in list(_supplies.items()):
        if known is supply:
            _supplies.pop(key, None)
