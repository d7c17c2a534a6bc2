"""The fingerprint beside the last record: whether somebody has touched the schema since.

It is written in the transaction of the last file of a run, and read by `status`. That it is there
is a service: what goes wrong with it is no failure of the migration.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import sql

from headwater.errors import HeadwaterError
from headwater.model import Applied, Schema
from headwater.postgres import history
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.plan import order_of_history
from headwater.schema.fingerprint import fingerprint, prefix
from headwater.settings import Settings

# A file's locks may be held meanwhile, and status answers at once: nobody is waited for.
_IMPATIENT = "SET LOCAL lock_timeout = '100ms'"

_NEWEST = sql.SQL(
    "UPDATE {history} SET fingerprint = {found} WHERE version = (SELECT version FROM {history} "
    'ORDER BY applied_at DESC, version COLLATE "C" DESC LIMIT 1)'
)


def fingerprint_of(connection: Connection, settings: Settings) -> str | None:
    """Give the fingerprint of what the session sees; an open transaction stays as it was.

    None where it cannot be had, because of a lock, say.
    """
    with suppress(psycopg.Error, HeadwaterError), connection.transaction(force_rollback=True):
        connection.execute(_IMPATIENT)
        return fingerprint(connection, history_table=settings.history, schemas=settings.schemas)
    return None


def seal(connection: Connection, settings: Settings) -> None:
    """Note the fingerprint of what the open transaction sees, with the newest record.

    Where it cannot be had it is unknown from now on: the one that stands there is of another
    schema. Where the role may not change a record, that one stays.
    """
    with suppress(psycopg.Error), only_catalog_names(connection):
        found = fingerprint_of(connection, settings)
        connection.execute(
            _NEWEST.format(history=history.table(settings), found=sql.Literal(found))
        )


def look(connection: Connection, settings: Settings, rows: tuple[Applied, ...]) -> Schema:
    """Say whether the schema is as the last run left it; unknown as well when it cannot be read.

    Only SELECTs.
    """
    newest = order_of_history(rows)[-1:]
    noted = next((row.fingerprint for row in rows if row.version in newest), None)
    if noted is None or not noted.startswith(prefix(connection)):
        return Schema.UNKNOWN
    found = fingerprint_of(connection, settings)
    if found is None:
        return Schema.UNKNOWN
    return Schema.AS_MIGRATED if found == noted else Schema.TOUCHED
