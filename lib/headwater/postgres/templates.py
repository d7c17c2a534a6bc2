"""Templates: databases that were built from files and are kept, so that the next run clones them.

A template is named by a key: the hash of all that its building follows from, file after file, so
that every prefix of the files has a key of its own. It gets that name when it is finished, and no
session can enter it from before that moment on: whatever has the name is whole, and as it was.

The connections here are to the server of scratch databases, pinned for bookkeeping.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from headwater.errors import HeadwaterError
from headwater.model import Migration
from headwater.postgres.connect import Connection
from headwater.postgres.databases import (
    SCRATCH_PREFIX,
    Locale,
    drop_database,
    wait_until_empty,
)
from headwater.postgres.translate import translated
from headwater.settings import Settings

PREFIX = "headwater_template_"

# Of the key, in hexadecimal: a name has at most 63 bytes.
_SHOWN = 40

# How many are kept, for how long after they were last used, and how exactly that is noted.
_KEPT = 24
_STALE = timedelta(days=14)
_EXACT = timedelta(hours=1)

_RULE = 1
"""Goes up when a template built by an earlier Headwater would not be what this one builds."""


# --- keys -------------------------------------------------------------------------------------

# What a session starts with where the scratch databases are, as far as it may change what files
# build. (`reset_val`: what our own session has set counts for nothing.)
_SERVER = """
SELECT pg_catalog.version(), CURRENT_USER,
       (SELECT pg_catalog.json_object_agg(name, reset_val ORDER BY name)
          FROM pg_catalog.pg_settings
         WHERE context IN ('user', 'superuser') AND category !~ '^Reporting and Logging'
           AND name <> 'application_name' AND reset_val IS DISTINCT FROM boot_val),
       (SELECT pg_catalog.json_agg(pg_catalog.to_json(r) ORDER BY rolname)
          FROM pg_catalog.pg_roles r WHERE rolname !~ '^pg_')
"""
_EXTENSIONS = """
SELECT name, default_version FROM pg_catalog.pg_available_extensions ORDER BY name
"""


def keys_of(
    connection: Connection, settings: Settings, migrations: Sequence[Migration], locale: Locale
) -> tuple[str, ...]:
    """Give the key of each prefix of some files, in the order in which they are to be run.

    `locale` is that of the scratch databases.
    """
    key = _digest(_circumstances(connection, settings, migrations, locale))
    keys = []
    for migration in migrations:
        texts = (migration.version, migration.checksum, migration.verify, migration.down)
        key = _digest([key, *texts])
        keys.append(key)
    return tuple(keys)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _circumstances(
    connection: Connection, settings: Settings, migrations: Sequence[Migration], locale: Locale
) -> list[object]:
    """Give what a build follows from beside its files: server, locale, roles, extensions."""
    words = set(re.findall(r"\w+", "\n".join(m.text for m in migrations).lower()))
    with translated("asking for templates"):
        [(version, user, session, roles)] = connection.execute(_SERVER).fetchall()
        found = connection.execute(_EXTENSIONS).fetchall() if "extension" in words else []
    # A name that was quoted may hold anything: what it is made of is looked for.
    named = [role for role in roles or () if _is_named(role["rolname"], words)]
    extensions = [(name, default) for name, default in found if _is_named(name, words)]
    forms = [option.as_string(None) for option in locale]
    return [_RULE, version, user, session, named, extensions, forms, settings.history]


def _is_named(name: str, words: set[str]) -> bool:
    return set(re.findall(r"\w+", name.lower())) <= words


# --- using one --------------------------------------------------------------------------------

# Of another owner, or open to sessions: made by somebody else, or not finished.
_FIND = """
SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
 WHERE datname = ANY (%s) AND NOT datallowconn
   AND pg_catalog.pg_get_userbyid(datdba) = CURRENT_USER
"""


def name_of_template(key: str) -> str:
    """Give the name of the database that is the template of a key."""
    return PREFIX + key[:_SHOWN]


def longest(connection: Connection, keys: Sequence[str]) -> int:
    """Give the number of files of the longest prefix that has a template; note that it is used."""
    names = [name_of_template(key) for key in keys]
    with translated("looking for a template"):
        found = dict[str, str | None](connection.execute(_FIND, (names,)).fetchall())
        count = max((number for number, n in enumerate(names, start=1) if n in found), default=0)
        now = datetime.now(UTC)
        if count and _used(found[names[count - 1]]) < now - _EXACT:
            _write_note(connection, names[count - 1], now)
    return count


_NOTE = "headwater: template, used "
_NEVER = datetime.min.replace(tzinfo=UTC)


def _used(note: str | None) -> datetime:
    """Read when a template was last used from its note."""
    for line in (note or "").splitlines():
        if line.startswith(_NOTE):
            with suppress(ValueError):
                return datetime.fromisoformat(line.removeprefix(_NOTE)).astimezone(UTC)
    return _NEVER


def _write_note(connection: Connection, name: str, when: datetime) -> None:
    with suppress(psycopg.Error):  # another run has swept it, or is writing the same
        connection.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(name), sql.Literal(f"{_NOTE}{when.isoformat()}")
            )
        )


# --- making one -------------------------------------------------------------------------------

# What cloning does not copy: it stands in catalogues that all databases share.
_IS_COPIED_WHOLE = """
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription s WHERE s.subdbid = d.oid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.database = d.datname)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_shseclabel l
                    WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
                      AND l.objoid = d.oid)
   AND d.datacl IS NULL
   AND NOT EXISTS (SELECT FROM pg_catalog.regexp_split_to_table(
                       pg_catalog.shobj_description(d.oid, 'pg_database'), E'\\n') line
                    WHERE NOT line ^@ 'headwater:')
  FROM pg_catalog.pg_database d WHERE d.datname = %s
"""


def keep(connection: Connection, name: str, key: str) -> bool:
    """Make a scratch database the template of a key; say whether it is one now.

    Nobody is in it any more. It is not kept where a clone would not be the same, where another run
    was faster, or where the server refuses: then it is still there under its own name.
    """
    template = name_of_template(key)
    try:
        if connection.execute(_IS_COPIED_WHOLE, (name,)).fetchone() != (True,):
            return False
        connection.execute(
            sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name))
        )
        wait_until_empty(connection, name)
        _write_note(connection, name, datetime.now(UTC))
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    except (psycopg.Error, HeadwaterError):
        return False
    return True


# --- sweeping ---------------------------------------------------------------------------------

_OURS = """
SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
 WHERE pg_catalog.starts_with(datname, %s)
   AND pg_catalog.pg_get_userbyid(datdba) = CURRENT_USER
"""
_MAKER = re.compile(r"^headwater: scratch of process (\d+) on (\S+) since ", re.MULTILINE)


def sweep(connection: Connection) -> tuple[str, ...]:
    """Drop templates that nobody uses any more, and what killed runs of this machine left behind.

    Gives the names. A failure is left for the next run.
    """
    with suppress(psycopg.Error, HeadwaterError):
        stale = [
            *_stale(connection.execute(_OURS, (PREFIX,)).fetchall(), datetime.now(UTC)),
            *_abandoned(connection.execute(_OURS, (SCRATCH_PREFIX,)).fetchall()),
        ]
        for name in stale:
            drop_database(connection, name)
        return tuple(stale)
    return ()


def _stale(found: Sequence[tuple[str, str | None]], now: datetime) -> list[str]:
    """Give the templates that are over the number or over the time, as their notes say."""
    used = {name: when for name, note in found if (when := _used(note)) is not _NEVER}
    newest_first = sorted(used, key=lambda name: used[name], reverse=True)
    return [n for i, n in enumerate(newest_first) if i >= _KEPT or used[n] < now - _STALE]


def _abandoned(found: Sequence[tuple[str, str | None]]) -> list[str]:
    """Give the scratch databases whose makers ran on this machine and run no more."""
    here = socket.gethostname()
    return [
        name
        for name, note in found
        if (match := _MAKER.search(note or "")) and match[2] == here and not _runs(int(match[1]))
    ]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
