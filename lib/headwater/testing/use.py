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
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import SkipTest

from psycopg import conninfo

from headwater.errors import HeadwaterError
from headwater.model import Notify, ignore
from headwater.postgres.connect import parameters
from headwater.postgres.psql import url_of
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
    made = supply.take(supply.project.contents(at=at, before=before, seeded=seeded, empty=empty))
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


# What a URL may show; libpq knows more than one kind of secret.
_SHOWN = ("host", "hostaddr", "port", "user", "dbname", "service", "sslmode")


def _url_to_show(kept: Database) -> str:
    if kept.target.private:
        return kept.url
    known = {name: value for name, value in parameters(kept.target).items() if name in _SHOWN}
    return url_of(replace(kept.target, conninfo=conninfo.make_conninfo(**known)))


_supplies = dict[tuple[int, Path], Supply]()


def _supply(root: Path) -> Supply:
    """Give this process's supply of a project, which lasts as long as the process."""
    key = (os.getpid(), root.resolve())
    if key not in _supplies:
        opened = open_supply(key[1])
        if _supplies.setdefault(key, opened) is opened:  # else another thread was faster
            atexit.register(opened.close)
    return _supplies[key]
