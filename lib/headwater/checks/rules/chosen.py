"""Rules of squawk, chosen one by one.

Its default set grows from week to week, and some of its rules contradict how Headwater runs files
(it sets the timeouts itself, and begins the transaction).
"""

from __future__ import annotations

from headwater.checks.rules.rule import Rule
from headwater.model import Severity

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
