"""Where a scratch database can be made for a target: the first place that is safe and able."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.errors import HeadwaterError
from headwater.model import Notify, Target, ignore
from headwater.postgres.connect import Connection, connect, target_of
from headwater.postgres.databases import is_empty, is_marked
from headwater.postgres.target import private_target
from headwater.postgres.translate import translated
from headwater.settings import Settings

# (Of a session that is set read-only for its role or database, another one would be so too; ours
# is made read-only by ourselves, so that is read from where it comes.)
_MAY_CREATE = """
SELECT (rolsuper OR rolcreatedb) AND NOT pg_catalog.pg_is_in_recovery()
       AND (SELECT reset_val = 'off' FROM pg_catalog.pg_settings
             WHERE name = 'default_transaction_read_only')
  FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER
"""
_EXTENSIONS = "SELECT extname FROM pg_catalog.pg_extension"
_AVAILABLE = "SELECT name FROM pg_catalog.pg_available_extensions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchServer:
    """A server for scratch databases; `ours` says that nobody else has roles there."""

    target: Target
    ours: bool


def scratch_server(
    connection: Connection, target: Target, settings: Settings, notify: Notify = ignore
) -> ScratchServer | str:
    """Choose where to make scratch databases, or say why there is no place.

    In order: the server that HEADWATER_SCRATCH_URL names; the target's own, when the target is
    disposable and its role may create databases; the private server, when it is not older and
    has the target's extensions. `connection` is one to the target, and is only read.
    """
    if settings.scratch is not None:
        return ScratchServer(target=target_of(settings.scratch), ours=False)
    with translated("looking for a place for a scratch database"):
        disposable = is_marked(connection) or is_empty(connection)
        able = connection.execute(_MAY_CREATE).fetchone() == (True,)
    if disposable and able:
        return ScratchServer(target=target, ours=target.private)
    return _private(connection, settings, notify)


def _private(connection: Connection, settings: Settings, notify: Notify) -> ScratchServer | str:
    try:
        place = private_target(settings, notify)
        with connect(place, purpose="scratch") as other, translated("asking the private server"):
            has = Equipment(_major(other), _names(other, _AVAILABLE))
    except HeadwaterError as error:
        return f"{error.message}; {_NAME_ONE}"
    with translated("asking for the target's extensions"):
        needed = Equipment(_major(connection), _names(connection, _EXTENSIONS))
    lack = lacking(needed, has)
    return f"{lack}; {_NAME_ONE}" if lack else ScratchServer(target=place, ours=True)


_NAME_ONE = "name a server in HEADWATER_SCRATCH_URL"


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a server has, or a database needs: the major version, and extensions by name."""

    version: int
    extensions: frozenset[str]


def lacking(needed: Equipment, has: Equipment) -> str:
    """Say what the private server lacks to hold a copy of the target, or nothing."""
    if needed.version > has.version:
        return (
            f"the target's PostgreSQL {needed.version} is newer than the private one, {has.version}"
        )
    missing = sorted(needed.extensions - has.extensions)
    if missing:
        return f"the private server lacks the extension{'s' * (len(missing) > 1)} " + ", ".join(
            missing
        )
    return ""


def _major(connection: Connection) -> int:
    return connection.info.server_version // 10_000


def _names(connection: Connection, query: str) -> frozenset[str]:
    return frozenset(row[0] for row in connection.execute(query.encode()))
