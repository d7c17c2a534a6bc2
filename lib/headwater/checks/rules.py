"""The rules of lint, each one object: what, why, what to write instead.

Two families so far: what `migrate` itself refuses (always an error), and rules of squawk, chosen
one by one: its default set grows from week to week, and some of its rules contradict how Headwater
runs files (it sets the timeouts itself, and begins the transaction).
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.model import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `bad` and `good` are whole files: the tests run lint on both."""

    id: str
    severity: Severity
    why: str
    instead: str
    bad: str
    good: str
    squawk: bool = False
    """True when squawk finds it, under the same name."""


REFUSED = (
    Rule(
        id="syntax",
        severity=Severity.ERROR,
        why="PostgreSQL's grammar does not accept it, so migrate does not begin.",
        instead="mend the text at the caret",
        bad="create tabel app.t (i int);",
        good="create table app.t (i bigint);",
    ),
    Rule(
        id="empty",
        severity=Severity.ERROR,
        why="A file without a statement is mostly one that was not saved.",
        instead="write it, or delete the file",
        bad="-- to do\n",
        good="select 1;",
    ),
    Rule(
        id="transaction-control",
        severity=Severity.ERROR,
        why="A COMMIT inside the file ends the transaction that makes it all or nothing.",
        instead="remove it; Headwater begins and commits",
        bad="begin; create table app.t (i bigint); commit;",
        good="create table app.t (i bigint);",
    ),
    Rule(
        id="copy-stdin",
        severity=Severity.ERROR,
        why="Only psql can send its data.",
        instead="write INSERT statements (pg_dump --inserts)",
        bad="copy app.t from stdin;\n1\n2\n\\.\n",
        good="insert into app.t values (1);",
    ),
    Rule(
        id="copy-stdout",
        severity=Severity.ERROR,
        why="Nobody receives the data.",
        instead="remove it",
        bad="copy app.t to stdout;",
        good="select 1;",
    ),
    Rule(
        id="no-transaction",
        severity=Severity.ERROR,
        why="PostgreSQL refuses the statement inside a transaction.",
        instead="give it a file of its own that begins with: -- headwater: no-transaction",
        bad="create index concurrently i on app.t (a);",
        good="-- headwater: no-transaction\ncreate index concurrently i on app.t (a);",
    ),
    Rule(
        id="concurrently-if-not-exists",
        severity=Severity.ERROR,
        why="The invalid index that a failed CONCURRENTLY leaves would pass for a finished one.",
        instead="remove IF NOT EXISTS",
        bad="-- headwater: no-transaction\ncreate index concurrently if not exists i on app.t (a);",
        good="-- headwater: no-transaction\ncreate index concurrently i on app.t (a);",
    ),
    Rule(
        id="reading-changed",
        severity=Severity.ERROR,
        why="A file without a transaction is sent in parts, which were read before it was set.",
        instead="put it into a file that runs in a transaction",
        bad="-- headwater: no-transaction\nset standard_conforming_strings = off;\nvacuum;",
        good="-- headwater: no-transaction\nset client_encoding = 'UTF8';\nvacuum;",
    ),
    Rule(
        id="directive",
        severity=Severity.ERROR,
        why="A directive that is mistyped or misplaced is only a comment.",
        instead="docs/migration-files.md lists the directives",
        bad="-- headwater: no-transactions\nselect 1;",
        good="-- headwater: lock-timeout 5s\nselect 1;",
    ),
    Rule(
        id="foreign-directive",
        severity=Severity.ERROR,
        why="Another tool's directive is only a comment here.",
        instead="write: -- headwater: no-transaction, or move the undo into VERSION.down.sql",
        bad="-- +goose NO TRANSACTION\nselect 1;",
        good="-- headwater: no-transaction\nvacuum;",
    ),
)

CHOSEN_OF_SQUAWK = (
    Rule(
        id="require-concurrent-index-creation",
        severity=Severity.WARNING,
        why="CREATE INDEX blocks every write of the table until the index is built.",
        instead="CREATE INDEX CONCURRENTLY, in a file with -- headwater: no-transaction",
        bad="create index i on app.t (a);",
        good="-- headwater: no-transaction\ncreate index concurrently i on app.t (a);",
        squawk=True,
    ),
    Rule(
        id="require-concurrent-index-deletion",
        severity=Severity.WARNING,
        why="DROP INDEX waits for every query on the table, and everybody else waits behind it.",
        instead="DROP INDEX CONCURRENTLY, in a file with -- headwater: no-transaction",
        bad="drop index app.i;",
        good="-- headwater: no-transaction\ndrop index concurrently app.i;",
        squawk=True,
    ),
    Rule(
        id="constraint-missing-not-valid",
        severity=Severity.WARNING,
        why="The whole table is read while writes are blocked.",
        instead="ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next migration",
        bad="alter table app.t add constraint c check (a > 0);",
        good="alter table app.t add constraint c check (a > 0) not valid;",
        squawk=True,
    ),
    Rule(
        id="adding-foreign-key-constraint",
        severity=Severity.WARNING,
        why="Both tables are blocked for writes while every row is looked up.",
        instead="ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next migration",
        bad="alter table app.t add constraint f foreign key (a) references app.u (id);",
        good="alter table app.t add constraint f foreign key (a) references app.u (id) not valid;",
        squawk=True,
    ),
    Rule(
        id="adding-required-field",
        severity=Severity.ERROR,
        why="A required column without a default fails as soon as the table has a row.",
        instead="add it with a constant default, or nullable, and fill it first",
        bad="alter table app.t add column c text not null;",
        good="alter table app.t add column c text not null default '';",
        squawk=True,
    ),
    Rule(
        id="changing-column-type",
        severity=Severity.WARNING,
        why="Most changes of a type rewrite the table with reads and writes blocked.",
        instead="a new column, filled in batches, then a swap of names",
        bad="alter table app.t alter column a type bigint;",
        good="alter table app.t add column a_new bigint;",
        squawk=True,
    ),
    Rule(
        id="renaming-column",
        severity=Severity.WARNING,
        why="The application that runs during the deployment still asks for the old name.",
        instead="add the new column, write both, move readers, then drop the old one",
        bad="alter table app.t rename column a to b;",
        good="alter table app.t add column b bigint;",
        squawk=True,
    ),
    Rule(
        id="renaming-table",
        severity=Severity.WARNING,
        why="The application that runs during the deployment still asks for the old name.",
        instead="a view with the old name, for as long as somebody uses it",
        bad="alter table app.t rename to u;",
        good="create view app.u as select a from app.t;",
        squawk=True,
    ),
    Rule(
        id="ban-drop-column",
        severity=Severity.WARNING,
        why="The data are gone, and a running application may still ask for them.",
        instead="stop using it in one release, drop it in a later one, and say so with allow",
        bad="alter table app.t drop column a;",
        good="alter table app.t alter column a drop default;",
        squawk=True,
    ),
    Rule(
        id="ban-drop-table",
        severity=Severity.WARNING,
        why="The data are gone, and a running application may still ask for them.",
        instead="stop using it in one release, drop it in a later one, and say so with allow",
        bad="drop table app.t;",
        good="comment on table app.t is 'No longer used.';",
        squawk=True,
    ),
    Rule(
        id="ban-truncate-cascade",
        severity=Severity.ERROR,
        why="It empties every table that refers to this one, and theirs.",
        instead="name each table that is to be emptied",
        bad="truncate app.t cascade;",
        good="truncate app.t;",
        squawk=True,
    ),
    Rule(
        id="prefer-timestamp-tz",
        severity=Severity.WARNING,
        why="A timestamp without time zone means another instant for every reader.",
        instead="timestamptz",
        bad="create table app.t (at timestamp);",
        good="create table app.t (at timestamptz);",
        squawk=True,
    ),
    Rule(
        id="ban-char-field",
        severity=Severity.WARNING,
        why="char(n) pads with blanks that comparisons then ignore.",
        instead="text, with a check constraint where the length matters",
        bad="create table app.t (c char(3));",
        good="create table app.t (c text);",
        squawk=True,
    ),
    Rule(
        id="identifier-too-long",
        severity=Severity.ERROR,
        why="PostgreSQL cuts a name at 63 bytes, silently; two long names may become one.",
        instead="a shorter name",
        bad=f"create table app.{'t' * 64} (i bigint);",
        good=f"create table app.{'t' * 63} (i bigint);",
        squawk=True,
    ),
)

NOT_REPEATABLE = Rule(
    id="not-repeatable",
    severity=Severity.WARNING,
    why="It stays when reset drops the schemas, and the file fails on it the next time.",
    instead="IF NOT EXISTS, DROP … IF EXISTS above it, or a DO block that looks first",
    bad="create publication changes;",
    good="drop publication if exists changes;\ncreate publication changes;",
)

UNUSED_ALLOW = Rule(
    id="unused-allow",
    severity=Severity.WARNING,
    why="It allows what is not there: the statement changed, or the rule is misspelt.",
    instead="remove the directive",
    bad="-- headwater: allow ban-drop-table because it was never used\nselect 1;",
    good="-- headwater: allow ban-drop-table because it was never used\ndrop table app.t;",
)

RULES = (*REFUSED, *CHOSEN_OF_SQUAWK, NOT_REPEATABLE, UNUSED_ALLOW)
BY_ID = {rule.id: rule for rule in RULES}
