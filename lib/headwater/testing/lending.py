"""Test databases for suites in other languages: asked for, used, handed back, by a command each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from psycopg import ProgrammingError, conninfo

from headwater.errors import SettingsError, TargetError, UnsafeTarget
from headwater.model import Notify, Target, ignore
from headwater.postgres.connect import connect, pin_for_bookkeeping, with_database
from headwater.postgres.databases import drop_left_database
from headwater.postgres.makers import Maker, maker_of_name, process_here
from headwater.postgres.translate import translated
from headwater.settings import Settings
from headwater.settings_forms import milliseconds
from headwater.testing.databases import PREFIX, note_of_lending
from headwater.testing.making import Cloner
from headwater.testing.project import read_project
from headwater.testing.servers import server_for_tests
from headwater.testing.sweeping import sweep_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A database that is lent until a time, or while a process runs, whichever ends first."""

    name: str
    url: str = field(repr=False)
    until: datetime


def lend_database(  # noqa: PLR0913 - each a flag of db.test-url
    settings: Settings,
    *,
    at: str | None = None,
    seeded: bool = False,
    lasting: str = "4h",
    pid: str = "",
    notify: Notify = ignore,
) -> Lent:
    """Make a database for a suite in another language, which `drop_database` takes back.

    `at` is the last version that it has (default: all); `seeded` runs the seeds; `lasting` is a
    duration such as `30min`; `pid` the number of the process that has it. What nobody hands back
    is swept when the time is over, or that process has ended.

    Raises SettingsError for a version, a duration or a process that is none; the errors of a
    migration; TargetError.
    """
    until, borrower = _end_of(lasting), _borrower(pid)
    project = read_project(settings.root)
    server = server_for_tests(settings, notify)
    sweep_server(server)
    with Cloner(server, project, notify=notify) as cloner:
        made = cloner.make(
            project.contents(at=at, seeded=seeded), note=note_of_lending(until, borrower)
        )
    return Lent(name=made.name, url=made.url, until=until)


def _end_of(lasting: str) -> datetime:
    try:
        duration = milliseconds(lasting)
        if duration == 0:
            raise ValueError("0 would be over at once")
        return datetime.now(UTC) + timedelta(milliseconds=duration)
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"--lasting: {error}", hint="write it as in: --lasting 30min") from None


def _borrower(pid: str) -> Maker | None:
    if not pid:
        return None
    found = process_here(int(pid)) if re.fullmatch(r"[0-9]{1,9}", pid) else None
    if found is None:
        raise SettingsError(
            f"--pid: no process {pid!r} runs here", hint="give the number of the suite's process"
        )
    return found


def drop_database(settings: Settings, database: str, notify: Notify = ignore) -> bool:
    """Drop a test database, named by its name or URL; say whether it was there.

    Raises UnsafeTarget for any database that Headwater did not make for a test.
    """
    name = _name_in(database)
    if maker_of_name(name, PREFIX) is None:
        raise UnsafeTarget(
            f"{name!r} is no test database of Headwater; nothing was dropped",
            hint="give the URL or the name that invoke db.test-url has printed",
        )
    server = server_for_tests(settings, notify)
    with connect(server, purpose="drop") as connection:
        with translated(f"looking for {name}"):
            pin_for_bookkeeping(connection)
            there = connection.execute(
                "SELECT pg_catalog.pg_get_userbyid(datdba) = CURRENT_USER "
                "FROM pg_catalog.pg_database WHERE datname = %s",
                (name,),
            ).fetchone()
        if there is None:
            return False
        if not there[0]:
            raise UnsafeTarget(
                f"{name} belongs to another role; nothing was dropped",
                hint="its owner drops it: name that role in TEST_DATABASE_URL",
            )
        drop_left_database(connection, name)
    return True


def _name_in(database: str) -> str:
    """Read the name from a URL, or take it as it is."""
    if "://" not in database and "=" not in database:
        return database
    try:
        return str(conninfo.conninfo_to_dict(database).get("dbname") or "")
    except ProgrammingError:
        raise SettingsError(
            "this is no URL of a database; nothing was dropped",
            hint="give the URL or the name that invoke db.test-url has printed",
        ) from None


def find_database(settings: Settings, name: str, notify: Notify = ignore) -> Target:
    """Give a test database by its name, for psql. Raises TargetError when it is none."""
    if maker_of_name(name, PREFIX) is None:
        raise TargetError(
            f"{name!r} is no test database of Headwater",
            hint="give the name that the failed test has printed",
        )
    return with_database(server_for_tests(settings, notify), name, "test database")
