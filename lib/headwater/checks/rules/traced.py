"""Rules about what running a file on a scratch database has shown: measured, never guessed."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule
from headwater.model import Layer, Severity

_OWN_FILE = "-- headwater: no-transaction\n"

REWRITE = Rule(
    id="rewrite",
    severity=Severity.WARNING,
    layer=Layer.TRACE,
    why="The whole table and its indexes are written anew, and everybody waits until that is done.",
    instead="a new column, filled in batches, then a swap of names; or a new table",
    bad="do $$ begin execute 'alter table app.t alter column a type bigint'; end $$;",
    good="alter table app.t alter column name type varchar(200);",
    lock="ACCESS EXCLUSIVE on the table: blocks reads and writes for as long as it is written",
)

SCAN_UNDER_LOCK = Rule(
    id="scan-under-lock",
    severity=Severity.WARNING,
    layer=Layer.TRACE,
    why="The whole table is read while others wait for it.",
    instead="add the constraint NOT VALID, and VALIDATE it in the next migration",
    bad="do $$ begin execute 'alter table app.t add constraint c check (a > 0)'; end $$;",
    good="alter table app.t add constraint c check (a > 0) not valid;",
    lock="that of the statement, for as long as the table is read",
)

BUILD_UNDER_LOCK = Rule(
    id="index-build-under-lock",
    severity=Severity.WARNING,
    layer=Layer.TRACE,
    why="Others wait until the index is built.",
    instead="CREATE INDEX CONCURRENTLY, in a file with -- headwater: no-transaction",
    bad="do $$ begin execute 'create index j on app.t (b)'; end $$;",
    good=f"{_OWN_FILE}create index concurrently j on app.t (b);",
    lock="SHARE on the table: blocks writes until the index is built",
)

LOCK_ELSEWHERE = Rule(
    id="lock-elsewhere",
    severity=Severity.WARNING,
    layer=Layer.TRACE,
    why="A table that the statement is not about is blocked as well.",
    instead="a migration of its own, at a quiet time: it waits for all who use those tables",
    setup="alter table app.t add constraint f foreign key (u_id) references app.u not valid;\n",
    bad="alter table app.t drop constraint f;",
    good="alter table app.t alter column u_id set statistics 100;",
    lock="ACCESS EXCLUSIVE on the other table where a foreign key is dropped; SHARE ROW EXCLUSIVE "
    "where one is made, which is told as information",
)

WORK_AFTER_LOCK = Rule(
    id="work-after-lock",
    severity=Severity.WARNING,
    layer=Layer.TRACE,
    why="The locks of a migration are held until its end: others wait for all that comes after.",
    instead="do the long work in a migration of its own, before or after the one that locks",
    bad="alter table app.u add column note text;\nupdate app.t set b = a;",
    good="alter table app.u add column note text;\ninsert into app.u (name) values ('one');",
    lock="that of the earlier statement, until the end of the file",
)

CASCADE = Rule(
    id="cascade",
    severity=Severity.WARNING,
    layer=Layer.TRACE,
    why="CASCADE drops what depends on it, and says so to nobody.",
    instead="drop what depends on it by name, above; then nothing is dropped unseen",
    setup="create view app.v as select id, a from app.t;\n",
    bad="alter table app.t drop column a cascade;",
    good="drop view app.v;\nalter table app.t alter column a drop not null;",
    lock="ACCESS EXCLUSIVE on every table that loses something",
)

HIDDEN_DDL = Rule(
    id="hidden-ddl",
    severity=Severity.INFO,
    layer=Layer.TRACE,
    why="What a block or a function does stands in no statement that a reader would look for.",
    instead="write the statements themselves, where they are always the same",
    bad="do $$ begin execute 'comment on table app.t is ''T'''; end $$;",
    good="comment on table app.t is 'T';",
)

FAILS = Rule(
    id="fails",
    severity=Severity.ERROR,
    layer=Layer.TRACE,
    why="The file fails on a database that the files before it have built.",
    instead="mend the file: invoke migrate would stop at the same place",
    bad="alter table app.t drop column not_there;",
    good="alter table app.t add column there text;",
)

NOT_TRACED = Rule(
    id="not-traced",
    severity=Severity.INFO,
    layer=Layer.TRACE,
    why="It changes more than its database: what it does was not measured.",
    instead="keep roles, databases and settings of the server out of the migrations",
    bad="create role headwater_example;\ndrop role headwater_example;",
    good="select 1;",
)

TRACED: tuple[Rule, ...] = (
    REWRITE,
    SCAN_UNDER_LOCK,
    BUILD_UNDER_LOCK,
    LOCK_ELSEWHERE,
    WORK_AFTER_LOCK,
    CASCADE,
    HIDDEN_DDL,
    FAILS,
    NOT_TRACED,
)
