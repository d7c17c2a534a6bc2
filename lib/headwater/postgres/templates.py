"""Templates: databases that were built from files and are kept, so that the next run clones them.

A template is named by a key: the hash of all that its building follows from, file after file, so
that every prefix of the files has a key of its own. It gets that name when it is finished, and no
session can enter it from before that moment on: whatever has the name is whole, and as it was.

The connections here are to the server of scratch databases, pinned for bookkeeping.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from headwater.errors import HeadwaterError
from headwater.model import Migration, Target
from headwater.postgres.connect import Connection, connect
from headwater.postgres.databases import SCRATCH_PREFIX, Locale, wait_until_empty
from headwater.postgres.makers import maker_of_name
from headwater.postgres.translate import translated
from headwater.settings import Settings

PREFIX = "headwater_template_"

# Of the key, in hexadecimal: a name has at most 63 bytes.
_SHOWN = 40

# How many are kept, for how long after they were last used, and how exactly that is noted.
_KEPT = 24
_STALE = timedelta(days=14)
_EXACT = timedelta(hours=1)

# --- keys -------------------------------------------------------------------------------------

# What a session starts with where the scratch databases are, as far as it may change what files
# build. (`reset_val`: what our own session has set counts for nothing.)
_SERVER = """
SELECT pg_catalog.version(), CURRENT_USER,
       (SELECT pg_catalog.json_object_agg(name, reset_val ORDER BY name)
          FROM pg_catalog.pg_settings
         WHERE context IN ('user', 'superuser') AND category !~ '^Reporting and Logging'
           AND name <> 'application_name' AND reset_val IS DISTINCT FROM boot_val)
"""
_ROLES = """
SELECT (SELECT pg_catalog.json_agg(pg_catalog.to_json(r) ORDER BY rolname)
          FROM pg_catalog.pg_roles r WHERE rolname !~ '^pg_'),
       (SELECT pg_catalog.json_agg(ARRAY[g.rolname, m.rolname] ORDER BY g.rolname, m.rolname)
          FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
          JOIN pg_catalog.pg_roles m ON m.oid = a.member)
"""
_EXTENSIONS = """
SELECT name, default_version FROM pg_catalog.pg_available_extensions ORDER BY name
"""


def keys_of(
    connection: Connection,
    settings: Settings,
    migrations: Sequence[Migration],
    locale: Locale,
    *,
    code: str,
) -> tuple[str, ...]:
    """Give the key of each prefix of some files, in the order in which they are to be run.

    `locale` is that of the scratch databases, `code` tells the Headwater that proves them.
    """
    with translated("asking for templates"):
        [(version, user, session)] = connection.execute(_SERVER).fetchall()
        roles, members = roles_of(connection)
        makes_some = any("extension" in migration.text.lower() for migration in migrations)
        extensions = connection.execute(_EXTENSIONS).fetchall() if makes_some else []
    forms = [option.as_string(None) for option in locale]
    key = _digest([code, version, user, session, forms, settings.history])
    keys = []
    for migration in migrations:
        texts = [migration.text, migration.verify or "", migration.down or ""]
        named = _named("\n".join(texts), roles, members, extensions)
        key = _digest([key, migration.version, migration.checksum, *texts[1:], named])
        keys.append(key)
    return tuple(keys)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _named(
    text: str,
    roles: Sequence[dict[str, object]],
    members: Sequence[Sequence[str]],
    extensions: Sequence[tuple[str, str]],
) -> list[object]:
    """Give the roles with their memberships, and the extensions, that a file names.

    A name that was quoted may hold anything: what it is made of is looked for.
    """
    words = set(re.findall(r"\w+", text.lower()))
    own = [role for role in roles if _is_named(str(role["rolname"]), words)]
    names = {role["rolname"] for role in own}
    return [
        own,
        [pair for pair in members if names.intersection(pair)],
        [pair for pair in extensions if "extension" in words and _is_named(pair[0], words)],
    ]


def roles_named_in(connection: Connection, text: str) -> list[object]:
    """Give the roles with their memberships that a text names: what it does may depend on them."""
    roles, members = roles_of(connection)
    return _named(text, roles, members, ())


def roles_of(
    connection: Connection,
) -> tuple[Sequence[dict[str, object]], Sequence[Sequence[str]]]:
    """Give all roles with their memberships: what a check says of rights follows from them."""
    with translated("asking for roles"):
        [(roles, members)] = connection.execute(_ROLES).fetchall()
    return roles or (), members or ()


def _is_named(name: str, words: set[str]) -> bool:
    return set(re.findall(r"\w+", name.lower())) <= words


# --- using one --------------------------------------------------------------------------------

# Of another owner, or open to sessions: made by somebody else, or not finished.
_FIND = """
SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
 WHERE datname = ANY (%s) AND NOT datallowconn
   AND pg_catalog.pg_get_userbyid(datdba) = CURRENT_USER
"""


def project_of(settings: Settings) -> str:
    """Tell a checkout from the others that make templates on one server."""
    return _digest(str(settings.root))[:12]


def name_of_template(key: str) -> str:
    """Give the name of the database that is the template of a key."""
    return PREFIX + key[:_SHOWN]


def longest(connection: Connection, keys: Sequence[str], project: str) -> int:
    """Give the number of files of the longest prefix that has a template; note that it is used."""
    names = [name_of_template(key) for key in keys]
    with translated("looking for a template"):
        found = dict[str, str | None](connection.execute(_FIND, (names,)).fetchall())
        count = max((number for number, n in enumerate(names, start=1) if n in found), default=0)
        now = datetime.now(UTC)
        if count and _used(found[names[count - 1]])[1] < now - _EXACT:
            _write_note(connection, names[count - 1], project, now)
    return count


_NOTE = re.compile(r"^headwater: template of (\S+), used (\S+)$", re.MULTILINE)
_NEVER = datetime.min.replace(tzinfo=UTC)


def _used(note: str | None) -> tuple[str, datetime]:
    """Read from a note whose template it is, and when that was last used."""
    found = _NOTE.search(note or "")
    with suppress(ValueError):
        if found:
            return found[1], datetime.fromisoformat(found[2]).astimezone(UTC)
    return "", _NEVER


def _write_note(connection: Connection, name: str, project: str, when: datetime) -> None:
    with suppress(psycopg.Error):  # another run has swept it, or is writing the same
        connection.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(name),
                sql.Literal(f"headwater: template of {project}, used {when.isoformat()}"),
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
   AND d.datacl IS NULL AND NOT d.datistemplate AND d.datconnlimit = -1
   AND pg_catalog.pg_get_userbyid(d.datdba) = CURRENT_USER
   AND NOT EXISTS (SELECT FROM pg_catalog.regexp_split_to_table(
                       pg_catalog.shobj_description(d.oid, 'pg_database'), E'\\n') line
                    WHERE NOT line ^@ 'headwater:')
  FROM pg_catalog.pg_database d WHERE d.datname = %s
"""


def make_template(connection: Connection, scratch: Target, key: str, project: str) -> bool:
    """Make a scratch database the template of a key; say whether it is one now.

    Nobody is in it any more. It is not kept where a clone would not be the same, where another run
    was faster, or where the server refuses: then it is still there under its own name.
    """
    template = name_of_template(key)
    name = scratch.database
    try:
        if connection.execute(_IS_COPIED_WHOLE, (name,)).fetchone() != (True,):
            return False
        _visit_last(connection, scratch)
        connection.execute(
            sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name))
        )
        wait_until_empty(connection, name)
        _write_note(connection, name, project, datetime.now(UTC))
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    except (psycopg.Error, HeadwaterError):
        return False
    return True


def _visit_last(connection: Connection, scratch: Target) -> None:
    """Open one more session, so that clones are found ready, and are all alike.

    As it begins, it writes the server's cache of the catalogue (pg_internal.init), which is copied.
    Then it resets the statistics of what was written: autovacuum would come for that, at a moment
    of its own and into a template too, to remove that cache, add maps of free space, and analyze
    what seeds hold. (It takes a superuser; where we are none, it comes. For what all databases
    share it may come in any case.)
    """
    wait_until_empty(connection, scratch.database)
    with (
        connect(scratch, purpose="scratch", impatient=True) as session,
        suppress(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute("SELECT pg_catalog.pg_stat_reset()")


# --- sweeping ---------------------------------------------------------------------------------

# Of our role, and with nobody inside.
_OURS = """
SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database d
 WHERE (pg_catalog.starts_with(datname, %s) OR pg_catalog.starts_with(datname, %s))
   AND pg_catalog.pg_get_userbyid(datdba) = CURRENT_USER
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)
"""
_HALF_KEPT = timedelta(hours=1)


def sweep(connection: Connection, project: str) -> tuple[str, ...]:
    """Drop templates that nobody uses any more, and what killed runs of this machine left behind.

    Gives the names of what was dropped. What cannot be dropped is left for the next run.
    """
    try:
        found = connection.execute(_OURS, (PREFIX, SCRATCH_PREFIX)).fetchall()
    except psycopg.Error:
        return ()
    now = datetime.now(UTC)
    dropped = []
    for name in (*_stale(found, project, now), *_abandoned(found, now)):
        with suppress(psycopg.Error):
            # Without force: whoever has come in meanwhile is not ended.
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            dropped.append(name)
    return tuple(dropped)


_Found = Sequence[tuple[str, str | None]]


def _stale(found: _Found, project: str, now: datetime) -> list[str]:
    """Give the templates over the time, and those of a project that are over the number."""
    used = {name: _used(note) for name, note in found if name.startswith(PREFIX)}
    late = [name for name, (_, when) in used.items() if _NEVER < when < now - _STALE]
    own = [name for name, (whose, _) in used.items() if whose == project and name not in late]
    newest_first = sorted(own, key=lambda name: used[name][1], reverse=True)
    return [*late, *newest_first[_KEPT:]]


def _abandoned(found: _Found, now: datetime) -> list[str]:
    """Give the scratch databases whose makers ran on this machine, and run no more.

    One whose maker was killed while it became a template has that note already.
    """
    names = []
    for name, note in found:
        if name.startswith(SCRATCH_PREFIX):
            maker, (_, used) = maker_of_name(name, SCRATCH_PREFIX), _used(note)
            dead = maker is not None and maker.has_ended
            if dead or _NEVER < used < now - _HALF_KEPT:
                names.append(name)
    return names
