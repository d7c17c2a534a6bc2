"""What dropping the managed schemas would take outside of them, and whether it came back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from headwater.errors import UnsafeTarget
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.dropping import bookkeeping
from headwater.postgres.translate import translated
from headwater.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Outsider:
    """An object outside the managed schemas that dropping them would take."""

    type: str
    identity: str

    def __str__(self) -> str:
        return f"{self.type} {self.identity}"


def outsiders_of(connection: Connection, settings: Settings) -> tuple[Outsider, ...]:
    """List the objects outside the managed schemas that dropping these would take."""
    query = resources.files(__package__).joinpath("cascade.sql").read_bytes()
    with translated("looking at what depends on the schemas"), only_catalog_names(connection):
        rows = connection.execute(
            query, {"schemas": list(settings.schemas), "history": bookkeeping(settings)}
        ).fetchall()
    return tuple(Outsider(type=kind, identity=identity) for kind, identity in rows)


# Every user's object with the same type and identity; which of the outsiders are there now?
_NOW = """
SELECT DISTINCT o.type, o.identity
  FROM (SELECT classid, objid, objsubid FROM pg_catalog.pg_depend
        UNION SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, oid, 0
                FROM pg_catalog.pg_extension) d
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) o
 WHERE d.objid >= 16384 AND o.identity = ANY (%s)
"""


def outsiders_now(connection: Connection, outsiders: Sequence[Outsider]) -> frozenset[Outsider]:
    """Say which of some objects exist in the connected database, inside its transaction."""
    with translated("looking at what was rebuilt"), only_catalog_names(connection):
        rows = connection.execute(_NOW, ([o.identity for o in outsiders],)).fetchall()
    return frozenset(Outsider(type=kind, identity=identity) for kind, identity in rows)


def require_rebuilt(outsiders: Sequence[Outsider], now: frozenset[Outsider]) -> None:
    """Raise UnsafeTarget when something outside the managed schemas would be gone for good."""
    lost = [outsider for outsider in outsiders if outsider not in now]
    if lost:
        raise UnsafeTarget(
            "reset would take objects outside the managed schemas, and the files do not rebuild "
            "them; nothing was touched",
            detail="\n".join(map(str, lost)),
            hint="drop or move them yourself, add a migration that builds them, or add their "
            "schema to HEADWATER_SCHEMAS",
        )
