"""Rules about what the rows of a target would do to a file."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule
from headwater.model import Layer, Severity

_DIRTY = """\
create table app.dirty (
    id bigint not null,
    a integer,
    name text,
    u_id bigint,
    at date not null default '2024-06-01'
);
insert into app.dirty (id, a, name, u_id)
values (1, 1, 'one', 1), (1, null, '2', 999), (3, -3, 'three', null);
create table app.clean (
    id bigint not null,
    a integer,
    name text,
    u_id bigint,
    at date not null default '2024-06-01'
);
insert into app.clean (id, a, name, u_id) values (1, 1, '1', 1), (2, 2, '2', 2), (3, 3, '3', null);
create table app.p (at date not null, n integer) partition by range (at);
create table app.rows_of_may (at date not null, n integer);
insert into app.rows_of_may values ('2024-05-31', 1), ('2024-06-01', 2);
"""

WOULD_FAIL_NULL = Rule(
    id="would-fail-null",
    severity=Severity.ERROR,
    layer=Layer.LIVE,
    why="Rows that are there have no value where the statement wants one, so it fails on them.",
    instead="give these rows a value in a migration before it; a new column: add it without NOT "
    "NULL, or with a default",
    bad="alter table app.dirty alter column a set not null;",
    good="alter table app.clean alter column a set not null;",
    setup=_DIRTY,
)
WOULD_FAIL_DUPLICATE = Rule(
    id="would-fail-duplicate",
    severity=Severity.ERROR,
    layer=Layer.LIVE,
    why="Values that must be unique stand in more than one row, so the index cannot be built.",
    instead="merge or delete the duplicates in a migration before it",
    bad="alter table app.dirty add constraint dirty_id unique (id);",
    good="alter table app.clean add constraint clean_id unique (id);",
    setup=_DIRTY,
)
WOULD_FAIL_ORPHAN = Rule(
    id="would-fail-orphan",
    severity=Severity.ERROR,
    layer=Layer.LIVE,
    why="Rows refer to rows that are not there, so the foreign key does not hold.",
    instead="delete these rows, or set the column to NULL, in a migration before it",
    bad="alter table app.dirty add foreign key (u_id) references app.u (id);",
    good="alter table app.clean add foreign key (u_id) references app.u (id);",
    setup=_DIRTY,
)
WOULD_FAIL_CHECK = Rule(
    id="would-fail-check",
    severity=Severity.ERROR,
    layer=Layer.LIVE,
    why="The condition is false of rows that are there, so the constraint does not hold.",
    instead="correct these rows in a migration before it",
    bad="alter table app.dirty add constraint positive check (a > 0);",
    good="alter table app.clean add constraint positive check (a > 0);",
    setup=_DIRTY,
)
WOULD_FAIL_TOO_LONG = Rule(
    id="would-fail-too-long",
    severity=Severity.ERROR,
    layer=Layer.LIVE,
    why="Values are too long, or too large, for the new type, so none of them is converted.",
    instead="shorten these values in a migration before it, or choose a wider type",
    bad="alter table app.dirty alter column name type varchar(3);",
    good="alter table app.dirty alter column name type varchar(5);",
    setup=_DIRTY,
)
WOULD_FAIL_CAST = Rule(
    id="would-fail-cast",
    severity=Severity.ERROR,
    layer=Layer.LIVE,
    why="Values cannot become values of the new type, so none of them is converted.",
    instead="correct these values in a migration before it, or convert them with USING",
    bad="alter table app.dirty alter column name type integer using name::integer;",
    good="alter table app.clean alter column name type integer using name::integer;",
    setup=_DIRTY,
)
WOULD_FAIL_PARTITION = Rule(
    id="would-fail-partition",
    severity=Severity.ERROR,
    layer=Layer.LIVE,
    why="Rows stand in a table or a default partition that is not theirs by the new bound.",
    instead="move these rows in a migration before it, or choose other bounds",
    bad="alter table app.p attach partition app.rows_of_may\n"
    "    for values from ('2024-05-01') to ('2024-06-01');",
    good="alter table app.p attach partition app.rows_of_may\n"
    "    for values from ('2024-05-01') to ('2024-07-01');",
    setup=_DIRTY,
)
LONG_TRANSACTION = Rule(
    id="long-transaction",
    severity=Severity.WARNING,
    layer=Layer.LIVE,
    why="The statement waits behind an open transaction, and everybody else behind the statement.",
    instead="end the transaction, or wait for its end, before you migrate",
    bad="alter table app.t add column c bigint;",
    good="alter table app.u add column c bigint;",
)
SEQUENCE_NEAR_END = Rule(
    id="sequence-near-end",
    severity=Severity.WARNING,
    layer=Layer.LIVE,
    why="When the sequence has no further value for its column, every INSERT fails.",
    instead="change the key to bigint soon; on a large table through a new column",
    bad="alter table app.counted add column note text;",
    good="alter table app.t add column note text;",
    setup="create table app.counted (\n"
    "    id integer generated always as identity primary key\n"
    ");\n"
    "select setval('app.counted_id_seq', 1700000000);\n",
)
INVALID_INDEX_THERE = Rule(
    id="invalid-index-there",
    severity=Severity.WARNING,
    layer=Layer.LIVE,
    why="An index that CONCURRENTLY has left invalid costs every write, and serves no query.",
    instead="drop it (DROP INDEX CONCURRENTLY) and build it again, or REINDEX INDEX CONCURRENTLY",
    bad="alter table app.t add column c bigint;",
    good="alter table app.u add column c bigint;",
    setup="update pg_catalog.pg_index set indisvalid = false\n"
    "    where indexrelid = 'app.i'::regclass;\n",
)

LIVE: tuple[Rule, ...] = (
    WOULD_FAIL_NULL,
    WOULD_FAIL_DUPLICATE,
    WOULD_FAIL_ORPHAN,
    WOULD_FAIL_CHECK,
    WOULD_FAIL_TOO_LONG,
    WOULD_FAIL_CAST,
    WOULD_FAIL_PARTITION,
    LONG_TRANSACTION,
    SEQUENCE_NEAR_END,
    INVALID_INDEX_THERE,
)
