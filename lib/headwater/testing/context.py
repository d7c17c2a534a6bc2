"""Being the application for a while: its role, and the settings that its policies read.

The owner of a schema is not bound by row security, and neither is a superuser: a test that asks as
one of them proves nothing of what the application sees. Nor does a test that forgets to say for
whom the application works: it sees no rows, and an assertion that nothing is there holds. So a
block without a context tells of each statement that found nothing.

`SET` is transactional, which decides how a block begins and ends:

- On a connection that is idle, role and settings are set outside any transaction: what is committed
  or rolled back inside leaves them as they are. A transaction that is still open at the end began
  in the block, and ends with it: committed, or rolled back when the block raises.
- In an open transaction the block is a savepoint (`connection.transaction()`), with `SET LOCAL`
  behind it. To end that transaction inside is refused by psycopg, and by a look at the end where it
  was done in SQL.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from headwater import settings_forms as forms
from headwater.errors import HeadwaterError, SettingsError, TargetError
from headwater.settings import (
    DEFAULT_APPLICATION_ROLE,
    DEFAULT_APPLICATION_SETTING,
    load_settings,
)
from headwater.testing.databases import root_of
from headwater.testing.noted import is_of_a_policy, noted
from headwater.testing.project import find_project
from headwater.testing.rollback import close_when_busy
from headwater.testing.watching_cursors import watched

Connection = psycopg.Connection[Any]


class MissingContextWarning(UserWarning):
    """Rows may be hidden because the context of a block is not the one that policies ask for.

    Either nothing was said of it, and a statement found nothing; or a keyword was given whose
    setting nothing in the database reads.
    """


@contextmanager
def as_application(
    connection: Connection, *, role: str | None = None, setting: str | None = None, **context: Any
) -> Generator[Connection]:
    """Act as the application for a block: under its role, for what the keywords name.

        with as_application(connection, organization=org, project=project.id):
            connection.execute("select * from kb.documents")

    A keyword NAME sets `app.current_NAME_id` to a UUID, a number, a text, or to the `id` of a row.
    None says that there is none, on purpose. The other settings of that form that the policies and
    functions of the database read are emptied, so that a block inside another one has nothing of
    its context. Afterwards role and settings are what they were. (A setting that never was set is
    empty then: PostgreSQL forgets no name.)

    The role, and the form of the settings, in which `{}` stands for the name, are what `role` and
    `setting` say; else what the project does whose test database it is (opened by a fixture, or by
    `Database.connect`), or the one in whose folder the process works, by
    `HEADWATER_APPLICATION_ROLE` and `HEADWATER_APPLICATION_SETTING`.

    A block that leaves its connection busy (a stream that is not read to its end, a COPY) has it
    closed. The settings of the role itself (`ALTER ROLE ... SET`) are not in force: PostgreSQL
    applies them when a session of the role begins.

    In a block without any keyword a statement that finds or changes nothing warns once, with
    `MissingContextWarning`, and a row that row security refuses gets a note with the same words.
    One row of only zeros, falses, empty texts or nulls counts as nothing: aggregates give that of
    no rows. A keyword whose setting nothing in the database reads is warned of as well.

    On an idle connection the block commits what is open at its end, and rolls back when it raises.
    In an open transaction it is a savepoint: rolled back when it raises, and when a statement in it
    failed, even if the error was caught (but for `insert`, which has a savepoint of its own).

    Raises TargetError, before anything is set, where the role is missing, cannot be taken or is not
    bound by row security; HeadwaterError where the block was left under another role; SettingsError
    where the project's settings cannot be used; TypeError and ValueError for a keyword without id.
    """
    _require_usable(connection)
    role, setting = _role_and_setting(connection, role, setting)
    inside = connection.info.transaction_status is TransactionStatus.INTRANS
    values = {name: _text(name, value) for name, value in context.items()}
    with _outside_a_transaction(connection):
        _require_bound(connection, role)
        read = _names_that_are_read(connection, setting)
        asks_anything = bool(read) or _has_policies(connection)
    block = _Block(role=role, setting=setting, values=values, read=read)
    if asks_anything:
        _warn_of_unread(block)
    entered = _savepoint if inside else _session
    tell = block.tell_once if block.forgotten else None
    with (
        watched(connection, tell),
        _explained(block),
        entered(connection, block),
        _free_at_the_end(connection),
    ):
        yield connection


@dataclass(slots=True, kw_only=True)
class _Block:
    """One block: what it sets, and whether it has told of a missing context."""

    role: str
    setting: str
    values: Mapping[str, str]
    read: tuple[str, ...]
    """The names whose settings something in the database reads."""
    told: bool = False
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def forgotten(self) -> bool:
        """Say whether nothing was said about the context, not even that there is none."""
        return not self.values

    @property
    def settings(self) -> dict[str, str]:
        """Give every setting that the block makes, the role last."""
        names = {**dict.fromkeys(self.read, ""), **self.values}
        return {self.setting.replace("{}", n): text for n, text in names.items()} | {
            "role": self.role
        }

    def explanation(self, what: str) -> str:
        """Say what happened, why, and what to write."""
        names = self.read or ("organization",)
        keywords = ", ".join(f"{name}=..." for name in names)
        return (
            f"{what}: this block acts as {self.role} without any context, so row security shows "
            f"and takes no rows of a tenant; write as_application(connection, {keywords}), or "
            f"{names[0]}=None where that is the point"
        )

    def tell_once(self, status: str) -> None:
        """Warn of a statement that found nothing, unless this block has warned already."""
        if not self.told:
            self.told = True
            _warn(self.explanation(f"nothing was found or changed ({status})"))


# --- before anything is set -------------------------------------------------------------------


def _require_usable(connection: Connection) -> None:
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(f"as_application takes a psycopg.Connection, not {connection!r}")
    status = connection.info.transaction_status
    if status is TransactionStatus.INERROR:
        raise noted(
            TargetError(
                "as_application cannot begin: the transaction is aborted",
                hint="roll back first, or catch the error inside `with connection.transaction():`",
            )
        )
    if connection.info.pipeline_status is not PipelineStatus.OFF:
        raise noted(
            TargetError(
                "as_application cannot begin inside a pipeline",
                hint="open the block first, and the pipeline in it",
            )
        )
    if status is TransactionStatus.ACTIVE:
        raise noted(
            TargetError(
                "as_application cannot begin: the connection is busy with a COPY or a stream",
                hint="finish it before the block",
            )
        )


def _role_and_setting(
    connection: Connection, role: str | None, setting: str | None
) -> tuple[str, str]:
    """Give what the call names, or else what the project does. Raises ValueError, SettingsError."""
    if setting is not None:
        forms.context_setting(setting)
    if role is not None and setting is not None:
        return role, setting
    environment = [os.environ.get(f"HEADWATER_{name}") for name in _NAMED]
    role_here, setting_here = _named_in(root_of(connection) or Path.cwd(), *environment)
    return role or role_here, setting or setting_here


_NAMED = ("APPLICATION_ROLE", "APPLICATION_SETTING")


@cache
def _named_in(folder: Path, *_: str | None) -> tuple[str, str]:
    """Give the role and the form of the settings of the project that a folder is in.

    (What the environment says of them is a part of the key.)
    """
    try:
        root = find_project(folder)
    except SettingsError:
        return DEFAULT_APPLICATION_ROLE, DEFAULT_APPLICATION_SETTING
    settings = load_settings(root, os.environ)
    return settings.application_role, settings.application_setting


def _text(name: str, value: Any) -> str:
    """Give what a setting is set to.

    Raises TypeError for what is no id and has none, ValueError for an empty text.
    """
    if value is None:
        return ""
    found = value
    if not isinstance(value, UUID | str | int):
        found = value.get("id") if isinstance(value, Mapping) else getattr(value, "id", None)
    # (A boolean is a number to Python, and no id to anybody.)
    if isinstance(found, bool) or not isinstance(found, UUID | str | int):
        raise TypeError(f"as_application: {name} is neither an id nor a row with an id: {value!r}")
    if found == "":
        raise ValueError(
            f"as_application: {name} is an empty text; "
            f"write {name}=None where there is none on purpose"
        )
    return str(found)


# A table's owner is not bound by its row security either, unless that is forced.
_FACTS = """
SELECT r.rolname IS NOT NULL, r.rolsuper OR r.rolbypassrls,
    (SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class AS c
      WHERE c.relrowsecurity AND NOT c.relforcerowsecurity
        AND pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE') LIMIT 1)
FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = %s
"""


def _require_bound(connection: Connection, role: str) -> None:
    """Refuse a role that is not there, or whose rows row security would not hide."""
    [(exists, bypasses, owned)] = _rows(connection, _FACTS, [role])
    if not exists:
        raise noted(
            TargetError(
                f"role {role} does not exist",
                hint="create it in a migration, or name the application's role: "
                "application_role in [tool.headwater], or as_application(connection, role=...)",
            )
        )
    if bypasses or owned:
        why = "bypasses row security" if bypasses else f"owns {owned}, and so sees all of its rows"
        raise noted(
            TargetError(
                f"role {role} {why}: a test under it would prove nothing",
                hint=f"ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS"
                if bypasses
                else "let another role own the tables, or ALTER TABLE ... FORCE ROW LEVEL SECURITY",
            )
        )


_READ = """
SELECT DISTINCT m[1] FROM (
    SELECT pg_catalog.pg_get_expr(p.polqual, p.polrelid) FROM pg_catalog.pg_policy AS p
    UNION ALL
    SELECT pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) FROM pg_catalog.pg_policy AS p
    UNION ALL
    SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef AS d
    UNION ALL
    SELECT pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class AS c
     WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384
    UNION ALL
    SELECT coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), f.prosrc)
      FROM pg_catalog.pg_proc AS f WHERE f.oid >= 16384
) AS source(text), pg_catalog.regexp_matches(source.text, %s, 'g') AS m
ORDER BY 1
"""

# What it reads is another one whenever a row of these catalogues is: each version of a row has
# another place, or another transaction. (Twenty times as fast as to read it.)
_STATE = """
SELECT pg_catalog.sum(pg_catalog.hashtextextended(version, 0)) FROM (
    SELECT pg_catalog.format('policy %%s %%s', ctid, xmin) FROM pg_catalog.pg_policy
    UNION ALL
    SELECT pg_catalog.format('default %%s %%s', ctid, xmin) FROM pg_catalog.pg_attrdef
    UNION ALL
    SELECT pg_catalog.format('view %%s %%s', ctid, xmin) FROM pg_catalog.pg_rewrite
     WHERE oid >= 16384
    UNION ALL
    SELECT pg_catalog.format('function %%s %%s', ctid, xmin) FROM pg_catalog.pg_proc
     WHERE oid >= 16384
) AS row(version)
"""

# Of each connection, by setting: the state at which it was read, and the names.
_Read = dict[str, tuple[Any, tuple[str, ...]]]
_read_before: WeakKeyDictionary[Connection, _Read] = WeakKeyDictionary()


def _names_that_are_read(connection: Connection, setting: str) -> tuple[str, ...]:
    """Give the names whose settings the database's own code reads, as it is now."""
    [(state,)] = _rows(connection, _STATE, [])
    known = _read_before.setdefault(connection, {})
    if setting not in known or known[setting][0] != state:
        parts = [re.sub(r"(\W)", r"\\\1", part) for part in setting.split("{}")]
        pattern = r"\y" + r"(\w+?)".join(parts) + r"\y"
        names = tuple(name for (name,) in _rows(connection, _READ, [pattern]))
        known[setting] = (state, names)
    return known[setting][1]


def _has_policies(connection: Connection) -> bool:
    return bool(_rows(connection, "SELECT FROM pg_catalog.pg_policy LIMIT 1", []))


def _warn_of_unread(block: _Block) -> None:
    """Warn of a keyword that no policy can have asked for: a slip in it would hide all rows."""
    instead = (
        f"what is read belongs to the keywords {', '.join(block.read)}"
        if block.read
        else f"nor any setting of the form {block.setting}; name the form that its policies ask "
        "for: HEADWATER_APPLICATION_SETTING, or as_application(connection, setting=...)"
    )
    for name, text in block.values.items():
        # (None hides nothing more where nothing is read at all.)
        if name not in block.read and (text or block.read):
            _warn(f"nothing in this database reads {block.setting.replace('{}', name)}; {instead}")


# --- setting, and setting back ----------------------------------------------------------------


@contextmanager
def _session(connection: Connection, block: _Block) -> Generator[None]:
    """Set outside any transaction; end the one that is open afterwards; set back."""
    with _outside_a_transaction(connection):
        before = _exchanged(connection, block.settings, local=False)
    try:
        yield
    except BaseException as error:
        with _as_note_of(error):
            if not connection.closed:
                connection.rollback()
                _set_back(connection, before)
        raise
    if connection.closed:
        return
    try:
        # What failed and was caught has taken the transaction with it.
        aborted = connection.info.transaction_status is TransactionStatus.INERROR
        (connection.rollback if aborted else connection.commit)()
    except BaseException as error:
        with _as_note_of(error):
            _set_back(connection, before)
        raise
    _require_in_force(_set_back(connection, before), block)


def _set_back(connection: Connection, before: Mapping[str, str]) -> dict[str, str]:
    with _outside_a_transaction(connection):
        return _exchanged(connection, before, local=False)


@contextmanager
def _free_at_the_end(connection: Connection) -> Generator[None]:
    """Close a connection that a block leaves busy: to set anything back would wait for ever."""
    busy = "the block has left its connection busy with a stream, a COPY or notifies: it is closed"
    try:
        yield
    except BaseException as error:
        if close_when_busy(connection):
            error.add_note(f"as_application: {busy}")
        raise
    if close_when_busy(connection):
        raise noted(HeadwaterError(f"as_application: {busy}", hint="finish it inside the block"))


# A setting local to the transaction: if it is gone at the end, the transaction was ended or rolled
# back in the block.
_MARK = "headwater.as_application"


@contextmanager
def _savepoint(connection: Connection, block: _Block) -> Generator[None]:
    """Set for the transaction, behind a savepoint; a look at the end; set back."""
    rollback: psycopg.Rollback | None = None
    with connection.transaction() as transaction:
        settings = {_MARK: block.mark} | block.settings
        before = _exchanged(connection, settings, local=True)
        try:
            yield
        except psycopg.Rollback as error:
            # Meant for the transaction around the block: of ours nobody knows.
            rollback = error
            raise
        except psycopg.ProgrammingError as error:
            if "within a Transaction context" in str(error):
                error.add_note(
                    "as_application began in an open transaction, and is a savepoint of it: commit "
                    "or roll back before the block, so that the block may do so"
                )
            raise
        if connection.closed:
            return
        if connection.info.transaction_status is TransactionStatus.INERROR:
            raise psycopg.Rollback(transaction)
        found = _exchanged(connection, before, local=True)
        _require_in_force(found, block)
        if found[_MARK] != block.mark:
            raise _lost("the transaction in which it began was ended")
    if rollback:
        raise rollback


def _require_in_force(found: Mapping[str, str], block: _Block) -> None:
    if found["role"] != block.role:
        now = "the role of the session" if found["role"] == "none" else found["role"]
        raise _lost(f"at its end the role was not {block.role} but {now}")
    emptied = [name for name, text in block.settings.items() if text and not found[name]]
    if emptied:
        # RESET ALL does so; from then on there are no rows, and an assertion of that holds.
        raise _lost(f"at its end {', '.join(emptied)} was empty")


def _lost(why: str) -> HeadwaterError:
    return noted(
        HeadwaterError(
            f"as_application was not in force for all of its block: {why}",
            hint="what ran after that had other rights; end transactions, change roles and reset "
            "settings outside",
        )
    )


_EXCHANGE = """
WITH before AS MATERIALIZED (
    SELECT i, name, value, coalesce(pg_catalog.current_setting(name, true), '') AS was
    FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]))
        WITH ORDINALITY AS s(name, value, i)
    ORDER BY i
)
SELECT name, was, pg_catalog.set_config(name, value, %s) FROM before ORDER BY i
"""


def _exchanged(
    connection: Connection, settings: Mapping[str, str], *, local: bool
) -> dict[str, str]:
    """Set settings, and give what they were. Raises TargetError for a role that is not allowed."""
    try:
        rows = _rows(connection, _EXCHANGE, [[*settings], [*settings.values()], local])
    except psycopg.errors.InsufficientPrivilege as error:
        user, role = connection.info.user, settings.get("role")
        raise noted(
            TargetError(
                f"{user} may not act as {role}: {error.diag.message_primary}",
                hint=f"GRANT {role} TO {user}, or connect as a superuser",
            )
        ) from error
    return {name: was for name, was, _ in rows}


@contextmanager
def _outside_a_transaction(connection: Connection) -> Generator[None]:
    """Let an idle connection stay idle whatever is asked; in a transaction there is no outside."""
    if connection.autocommit or connection.info.transaction_status is not TransactionStatus.IDLE:
        yield
        return
    connection.autocommit = True
    try:
        yield
    finally:
        if not connection.closed:
            connection.autocommit = False


def _rows(connection: Connection, query: str, parameters: list[Any]) -> list[Any]:
    """Ask by a cursor that nobody watches, whatever rows the connection gives."""
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        return cursor.execute(query.encode(), parameters, prepare=False).fetchall()


@contextmanager
def _as_note_of(first: BaseException) -> Generator[None]:
    """Let the first error win."""
    try:
        yield
    except psycopg.Error as error:
        first.add_note(f"as_application could not set back the role and its settings: {error}")


# --- telling of a context that is missing ------------------------------------------------------


@contextmanager
def _explained(block: _Block) -> Generator[None]:
    """Note on the error of a refused row that the context is missing."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        # Else a privilege is missing: no context would help.
        if block.forgotten and is_of_a_policy(error):
            error.add_note(block.explanation("a row was refused"))
        raise
    except psycopg.errors.InvalidTextRepresentation as error:
        if '""' in (error.diag.message_primary or "") and not all(block.settings.values()):
            error.add_note(
                "as_application: a setting of which nothing is said is empty here, as in any "
                "session that has had it once, and a policy or a function casts it; write "
                "nullif(current_setting('...', true), '') there"
            )
        raise


_INNER = (
    str(Path(__file__).parent),
    str(Path(psycopg.__file__).parent),
    str(contextlib.__file__),
)


def _warn(message: str) -> None:
    """Warn at the line that called: not in this package, the driver, or contextlib."""
    # (`skip_file_prefixes` does this from Python 3.12 on.)
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(_INNER):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, MissingContextWarning, stacklevel=level)
