"""An older table of migrations, with a version, a file name and a time, becomes our history.

Its rows stay, and so do its columns. A row is taken for a file only where that is no guess; each
that is not, is told, and nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import LiteralString

from psycopg import sql
from psycopg.rows import class_row

from headwater.errors import HistoryError
from headwater.model import Finding, How, Migration, plural
from headwater.postgres import history
from headwater.postgres.connect import Connection
from headwater.postgres.translate import translated
from headwater.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class OlderRow:
    """One row of the older table; `place` is where it stands, as the server says it."""

    place: str
    version: str | None
    filename: str | None


def read_older(connection: Connection, settings: Settings) -> tuple[OlderRow, ...]:
    """Read the rows of the older table; the session is pinned for bookkeeping."""
    query = sql.SQL(
        "SELECT ctid::text AS place, version::text, filename::text FROM {} ORDER BY 2, 3"
    ).format(history.table(settings))
    with (
        translated("reading the older history"),
        connection.cursor(row_factory=class_row(OlderRow)) as cursor,
    ):
        return tuple(cursor.execute(query).fetchall())


# --- which file a row means -------------------------------------------------------------------


def files_of(rows: Sequence[OlderRow], migrations: Sequence[Migration]) -> dict[str, Migration]:
    """Give the file that each row means: place of the row -> migration. Pure.

    Raises HistoryError that names every row that means no file, several, or the same as another.
    """
    found = {row.place: _candidates(row, migrations) for row in rows}
    meant = Counter(file.version for files in found.values() for file in files[:1])
    faults = [
        Finding(rule="history-older", message=f"{_named(row)}: {fault}")
        for row in rows
        if (fault := _fault(found[row.place], meant))
    ]
    if faults:
        raise HistoryError(
            f"{plural(len(faults), 'row')} of the older history cannot be told; nothing changed",
            findings=tuple(faults),
            hint="restore the file, or correct the row: its filename is VERSION.sql",
        )
    return {place: files[0] for place, files in found.items()}


def _candidates(row: OlderRow, migrations: Sequence[Migration]) -> list[Migration]:
    """Give the files that a row may mean: by its whole names, else by the prefix alone."""
    names = {row.version, PurePath(row.filename).name if row.filename else None}
    versions = {name.removesuffix(".sql") for name in names if name}
    exact = [file for file in migrations if file.version in versions]
    return exact or [file for file in migrations if file.prefix == row.version]


def _fault(files: Sequence[Migration], meant: Mapping[str, int]) -> str:
    if not files:
        return "there is no such file"
    if len(files) > 1:
        return f"it may mean {' or '.join(f'{file.version}.sql' for file in files)}"
    if meant[files[0].version] > 1:
        return f"another row means {files[0].version}.sql too"
    return ""


def _named(row: OlderRow) -> str:
    return f"version {row.version!r}, filename {row.filename!r}"


# --- the table --------------------------------------------------------------------------------

_COLUMNS = """
SELECT a.attname, pg_catalog.format_type(a.atttypid, NULL),
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = {name}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
"""

_NO_DEFAULTS = """
ALTER TABLE {table} ALTER COLUMN version DROP DEFAULT, ALTER COLUMN applied_at DROP DEFAULT
"""

# Column -> its type in our history, and the way there. A time without a zone is one of UTC, which
# the session is set to. (Not done where there is nothing to do: a view may stand on the column.)
_CASTS: Mapping[str, tuple[str, LiteralString]] = {
    "version": (
        "text",
        "ALTER TABLE {table} ALTER version TYPE text USING version::text",
    ),
    "applied_at": (
        "timestamp with time zone",
        "ALTER TABLE {table} ALTER applied_at TYPE timestamptz USING applied_at::timestamptz",
    ),
}

# A key that holds of every row, and of the version alone.
_KEYS = """
SELECT pg_catalog.count(*) FILTER (WHERE i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) > 0,
       pg_catalog.count(*) FILTER (WHERE i.indisprimary) > 0
  FROM pg_catalog.pg_index i
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'version'
 WHERE i.indrelid = {name}::pg_catalog.regclass
   AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
"""

_NEW_COLUMNS = """
ALTER TABLE {table} ADD COLUMN checksum text, ADD COLUMN tokens text, ADD COLUMN applied_by text,
    ADD COLUMN duration_ms bigint, ADD COLUMN out_of_order boolean NOT NULL DEFAULT false,
    ADD COLUMN how text NOT NULL DEFAULT 'run' CHECK (how IN ('run', 'marked', 'baseline')),
    ADD COLUMN fingerprint text
"""

_FILL = """
UPDATE {table} SET version = %s, checksum = %s, tokens = %s, applied_by = %s, how = %s
 WHERE ctid = %s::pg_catalog.tid
"""

# Who applied it, the older table does not say.
BY_WHOM = "unknown"

_REQUIRE = """
ALTER TABLE {table} ALTER COLUMN checksum SET NOT NULL, ALTER COLUMN applied_by SET NOT NULL,
    ALTER COLUMN applied_by SET DEFAULT CURRENT_USER,
    ALTER COLUMN applied_at SET DEFAULT pg_catalog.now()
"""


def convert(
    connection: Connection,
    settings: Settings,
    migrations: Sequence[Migration],
    tokens: Mapping[str, str],
) -> None:
    """Give the older table the form of ours, and its rows their checksums; keep all else of it.

    Call it in a transaction: a row that cannot be told ends it, and everything is as it was.
    `tokens` are those of each version that a row meant when they were read before.
    """
    table = history.table(settings)
    with translated(f"taking over {settings.history}"):
        _open_up(connection, settings)
        connection.execute(sql.SQL(_NEW_COLUMNS).format(table=table))
        rows = read_older(connection, settings)
        files = files_of(rows, migrations)
        if any(file.version not in tokens for file in files.values()):
            raise changed_meanwhile(settings)
        for place, file in files.items():
            filled = (file.version, file.checksum, tokens[file.version], BY_WHOM, How.BASELINE)
            connection.execute(sql.SQL(_FILL).format(table=table), (*filled, place))
        connection.execute(sql.SQL(_REQUIRE).format(table=table))
        _require_key(connection, settings)
        # The journal beside it, and the comment: what else a history has is there by now.
        connection.execute(history.creation(connection, settings))


def changed_meanwhile(settings: Settings) -> HistoryError:
    """Tell that somebody writes to history while it is taken over: what was proved is past."""
    return HistoryError(
        f"{settings.history} was changed meanwhile; nothing of it was taken over",
        hint="run the same command again",
    )


def _open_up(connection: Connection, settings: Settings) -> None:
    """Let the table take our rows: our types, and no other column that must be filled."""
    table = history.table(settings)
    asked = connection.execute(sql.SQL(_COLUMNS).format(name=_name(settings))).fetchall()
    connection.execute(sql.SQL(_NO_DEFAULTS).format(table=table))
    for column, datatype, must_be_filled in asked:
        if column in _CASTS:
            wanted, statement = _CASTS[column]
            if datatype != wanted:
                connection.execute(sql.SQL(statement).format(table=table))
        elif must_be_filled:
            connection.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(
                    table, sql.Identifier(column)
                )
            )


def _require_key(connection: Connection, settings: Settings) -> None:
    """Let no version be recorded twice, as in a history that we make."""
    found = connection.execute(sql.SQL(_KEYS).format(name=_name(settings))).fetchone()
    of_version, has_primary = found or (False, False)
    statement: LiteralString = "ALTER TABLE {} ALTER COLUMN version SET NOT NULL"
    if not of_version:
        statement += ", ADD UNIQUE (version)" if has_primary else ", ADD PRIMARY KEY (version)"
    connection.execute(sql.SQL(statement).format(history.table(settings)))


def _name(settings: Settings) -> sql.Literal:
    """Give the table's name as a text, quoted as the server reads it."""
    return sql.Literal(f"{settings.history_schema}.{settings.history_table}")
