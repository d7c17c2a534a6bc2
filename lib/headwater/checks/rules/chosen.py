"""Rules of squawk, chosen one by one.

Its default set grows from week to week, and some of its rules contradict how Headwater runs files
(it sets the timeouts itself, and begins the transaction). Where the parse tree knows better than
squawk, its finding is not shown: `headwater.checks.textual` says where.
"""

from __future__ import annotations

from headwater.checks.rules.rule import Claim, Rule
from headwater.model import Severity

# --- indexes ----------------------------------------------------------------------------------

REQUIRE_CONCURRENT_INDEX_CREATION = Rule(
    id="require-concurrent-index-creation",
    severity=Severity.WARNING,
    why="CREATE INDEX blocks every write of the table until the index is built.",
    instead="CREATE INDEX CONCURRENTLY, in a file with -- headwater: no-transaction",
    bad="create index t_b on app.t (b);",
    good="-- headwater: no-transaction\ncreate index concurrently t_b on app.t (b);",
    squawk=True,
    claim=Claim.INDEX_BUILD,
    lock="SHARE",
)

REQUIRE_CONCURRENT_INDEX_DELETION = Rule(
    id="require-concurrent-index-deletion",
    severity=Severity.WARNING,
    why="DROP INDEX waits for every query on the table, and everybody else waits behind it.",
    instead="DROP INDEX CONCURRENTLY, in a file with -- headwater: no-transaction",
    bad="drop index app.i;",
    good="-- headwater: no-transaction\ndrop index concurrently app.i;",
    squawk=True,
    claim=Claim.LOCK,
    lock="ACCESS EXCLUSIVE on the index and its table",
)

REQUIRE_CONCURRENT_REINDEX = Rule(
    id="require-concurrent-reindex",
    severity=Severity.WARNING,
    why="REINDEX blocks writes, and every query that could use the index, until it is built anew.",
    instead="REINDEX … CONCURRENTLY, in a file with -- headwater: no-transaction",
    bad="reindex table app.t;",
    good="-- headwater: no-transaction\nreindex table concurrently app.t;",
    squawk=True,
    claim=Claim.INDEX_BUILD,
    lock="SHARE on the table, ACCESS EXCLUSIVE on its indexes",
)

REQUIRE_CONCURRENT_PARTITION_DETACH = Rule(
    id="require-concurrent-partition-detach",
    severity=Severity.WARNING,
    why="DETACH PARTITION waits for every query on the parent, and all others wait behind it.",
    instead="DETACH PARTITION … CONCURRENTLY, in a file with -- headwater: no-transaction",
    bad="alter table app.days detach partition app.days_1;",
    good="-- headwater: no-transaction\n"
    "alter table app.days detach partition app.days_1 concurrently;",
    setup="create table app.days (day integer) partition by range (day);\n"
    "create table app.days_1 partition of app.days for values from (0) to (10);",
    squawk=True,
    claim=Claim.LOCK,
    lock="ACCESS EXCLUSIVE on the parent and the partition",
)

# --- constraints ------------------------------------------------------------------------------

CONSTRAINT_MISSING_NOT_VALID = Rule(
    id="constraint-missing-not-valid",
    severity=Severity.WARNING,
    why="The whole table is read with reads and writes blocked.",
    instead="ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next migration",
    bad="alter table app.t add constraint c check (a > 0);",
    good="alter table app.t add constraint c check (a > 0) not valid;",
    squawk=True,
    claim=Claim.SCAN,
    lock="ACCESS EXCLUSIVE; SHARE UPDATE EXCLUSIVE while it is validated",
)

ADDING_FOREIGN_KEY_CONSTRAINT = Rule(
    id="adding-foreign-key-constraint",
    severity=Severity.WARNING,
    why="Both tables are blocked for writes while every row is looked up.",
    instead="ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next migration",
    bad="alter table app.t add constraint f foreign key (a) references app.u (id);",
    good="alter table app.t add constraint f foreign key (a) references app.u (id) not valid;",
    squawk=True,
    claim=Claim.SCAN,
    lock="SHARE ROW EXCLUSIVE on both tables",
)

DISALLOWED_UNIQUE_CONSTRAINT = Rule(
    id="disallowed-unique-constraint",
    severity=Severity.WARNING,
    why="Its index is built with reads and writes blocked.",
    instead="CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX",
    bad="alter table app.t add constraint t_b_key unique (b);",
    good="alter table app.t add constraint t_b_key unique using index t_b;",
    setup="create unique index t_b on app.t (b);",
    squawk=True,
    claim=Claim.INDEX_BUILD,
    lock="ACCESS EXCLUSIVE",
)

ADDING_SERIAL_PRIMARY_KEY_FIELD = Rule(
    id="adding-serial-primary-key-field",
    severity=Severity.WARNING,
    why="The index of the key is built, and every row read, with reads and writes blocked.",
    instead="CREATE UNIQUE INDEX CONCURRENTLY, the columns NOT NULL, "
    "then ADD PRIMARY KEY USING INDEX",
    bad="alter table app.v add constraint v_pkey primary key (id);",
    good="alter table app.v add constraint v_pkey primary key using index v_id;",
    setup="create table app.v (id bigint not null);\ncreate unique index v_id on app.v (id);",
    squawk=True,
    claim=Claim.INDEX_BUILD,
    lock="ACCESS EXCLUSIVE",
)

ADDING_NOT_NULLABLE_FIELD = Rule(
    id="adding-not-nullable-field",
    severity=Severity.WARNING,
    why="SET NOT NULL reads every row with reads and writes blocked.",
    instead="ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; in the next migration "
    "VALIDATE it, SET NOT NULL, which then reads nothing, and drop it",
    safe=((18, "ADD CONSTRAINT … NOT NULL column NOT VALID; then VALIDATE CONSTRAINT"),),
    bad="alter table app.t alter column a set not null;",
    good="alter table app.t add constraint a_there check (a is not null) not valid;",
    squawk=True,
    claim=Claim.SCAN,
    lock="ACCESS EXCLUSIVE",
)

BAN_ALTER_DOMAIN_WITH_ADD_CONSTRAINT = Rule(
    id="ban-alter-domain-with-add-constraint",
    severity=Severity.WARNING,
    why="Every table with a column of the domain is read, and blocked for writes meanwhile.",
    instead="ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next migration",
    bad="alter domain app.price add constraint c check (value >= 0);",
    good="alter domain app.price add constraint c check (value >= 0) not valid;",
    setup="create domain app.price as numeric;\ncreate table app.v (price app.price);",
    squawk=True,
    claim=Claim.SCAN,
    lock="SHARE on every table with a column of the domain",
)

# --- columns ----------------------------------------------------------------------------------

ADDING_REQUIRED_FIELD = Rule(
    id="adding-required-field",
    severity=Severity.ERROR,
    why="A required column without a default fails as soon as the table has a row.",
    instead="add it with a constant default, or nullable, and fill it first",
    bad="alter table app.t add column c text not null;",
    good="alter table app.t add column c text not null default '';",
    squawk=True,
)

ADDING_FIELD_WITH_DEFAULT = Rule(
    id="adding-field-with-default",
    severity=Severity.WARNING,
    why="A default that differs from row to row writes the table anew, reads and writes blocked.",
    instead="add the column without it, SET DEFAULT for new rows, and fill the old ones in batches",
    bad="alter table app.t add column c uuid default gen_random_uuid();",
    good="alter table app.t add column c uuid;\n"
    "alter table app.t alter column c set default gen_random_uuid();",
    squawk=True,
    claim=Claim.REWRITE,
    lock="ACCESS EXCLUSIVE",
)

CHANGING_COLUMN_TYPE = Rule(
    id="changing-column-type",
    severity=Severity.WARNING,
    why="Most changes of a type rewrite the table with reads and writes blocked.",
    instead="a new column, filled in batches, then a swap of names",
    bad="alter table app.t alter column a type bigint;",
    good="alter table app.t add column a_new bigint;",
    squawk=True,
    claim=Claim.REWRITE,
    lock="ACCESS EXCLUSIVE",
)

# --- names ------------------------------------------------------------------------------------

RENAMING_COLUMN = Rule(
    id="renaming-column",
    severity=Severity.WARNING,
    why="The application that runs during the deployment still asks for the old name.",
    instead="add the new column, write both, move readers, then drop the old one",
    bad="alter table app.t rename column a to c;",
    good="alter table app.t add column c bigint;",
    squawk=True,
)

RENAMING_TABLE = Rule(
    id="renaming-table",
    severity=Severity.WARNING,
    why="The application that runs during the deployment still asks for the old name.",
    instead="a view with the old name, for as long as somebody uses it",
    bad="alter table app.t rename to things;",
    good="create view app.things as select a from app.t;",
    squawk=True,
)

RENAMING_OBJECT = Rule(
    id="renaming-object",
    severity=Severity.WARNING,
    why="The application that runs during the deployment still asks for the old name.",
    instead="make the new one beside it, move who uses it, then drop the old one",
    bad="alter type app.mood rename value 'glad' to 'happy';",
    good="alter type app.mood add value 'happy';",
    setup="create type app.mood as enum ('glad');",
    squawk=True,
)

# --- what is dropped --------------------------------------------------------------------------

BAN_DROP_COLUMN = Rule(
    id="ban-drop-column",
    severity=Severity.WARNING,
    why="The data are gone, and a running application may still ask for them.",
    instead="stop using it in one release, drop it in a later one, with an allow and its reason",
    bad="alter table app.t drop column a;",
    good="alter table app.t alter column a drop default;",
    squawk=True,
    lock="ACCESS EXCLUSIVE",
)

BAN_DROP_TABLE = Rule(
    id="ban-drop-table",
    severity=Severity.WARNING,
    why="The data are gone, and a running application may still ask for them.",
    instead="stop using it in one release, drop it in a later one, with an allow and its reason",
    bad="drop table app.t;",
    good="comment on table app.t is 'No longer used.';",
    squawk=True,
    lock="ACCESS EXCLUSIVE, on the tables that it refers to as well",
)

BAN_DROP_VIEW = Rule(
    id="ban-drop-view",
    severity=Severity.WARNING,
    why="A running application may still ask for it.",
    instead="stop using it in one release, drop it in a later one, with an allow and its reason",
    bad="drop view app.names;",
    good="comment on view app.names is 'No longer used.';",
    setup="create view app.names as select name from app.t;",
    squawk=True,
    lock="ACCESS EXCLUSIVE",
)

BAN_DROP_FUNCTION = Rule(
    id="ban-drop-function",
    severity=Severity.WARNING,
    why="A running application may still call it.",
    instead="stop calling it in one release, drop it in a later one, and say so with allow",
    bad="drop function app.f();",
    good="comment on function app.f() is 'No longer called.';",
    setup="create function app.f() returns integer language sql return 1;",
    squawk=True,
)

BAN_DROP_TYPE = Rule(
    id="ban-drop-type",
    severity=Severity.WARNING,
    why="A running application may still cast to it.",
    instead="stop using it in one release, drop it in a later one, with an allow and its reason",
    bad="drop type app.mood;",
    good="comment on type app.mood is 'No longer used.';",
    setup="create type app.mood as enum ('glad');",
    squawk=True,
)

BAN_DROP_SCHEMA = Rule(
    id="ban-drop-schema",
    severity=Severity.WARNING,
    why="A running application may still ask for what was in it.",
    instead="stop using it in one release, drop it in a later one, with an allow and its reason",
    bad="drop schema archive;",
    good="comment on schema archive is 'No longer used.';",
    setup="create schema archive;",
    squawk=True,
)

BAN_DROP_DATABASE = Rule(
    id="ban-drop-database",
    severity=Severity.ERROR,
    why="A migration is about one database, and this is the end of another.",
    instead="leave databases to whoever runs the server",
    bad="-- headwater: no-transaction\ndrop database if exists headwater_example;",
    good="-- headwater: no-transaction\nvacuum app.t;",
    squawk=True,
)

BAN_TRUNCATE_CASCADE = Rule(
    id="ban-truncate-cascade",
    severity=Severity.ERROR,
    why="It empties every table that refers to this one, and theirs.",
    instead="name each table that is to be emptied",
    bad="truncate app.t cascade;",
    good="-- headwater: allow truncate because its rows are made anew below\ntruncate app.t;",
    squawk=True,
    lock="ACCESS EXCLUSIVE on each of them",
)

# --- types and names --------------------------------------------------------------------------

PREFER_IDENTITY = Rule(
    id="prefer-identity",
    severity=Severity.INFO,
    why="serial is a default and a sequence with rights of its own, which anybody may overrule.",
    instead="bigint generated always as identity",
    bad="create table app.n (id bigserial primary key);",
    good="create table app.n (id bigint generated always as identity primary key);",
    squawk=True,
)

PREFER_TIMESTAMP_TZ = Rule(
    id="prefer-timestamp-tz",
    severity=Severity.WARNING,
    why="A timestamp without time zone means another instant for every reader.",
    instead="timestamptz",
    bad="create table app.n (at timestamp);",
    good="create table app.n (at timestamptz);",
    squawk=True,
)

BAN_CHAR_FIELD = Rule(
    id="ban-char-field",
    severity=Severity.WARNING,
    why="char(n) pads with blanks that comparisons then ignore.",
    instead="text, with a check constraint where the length matters",
    bad="create table app.n (c char(3));",
    good="create table app.n (c text);",
    squawk=True,
)

IDENTIFIER_TOO_LONG = Rule(
    id="identifier-too-long",
    severity=Severity.ERROR,
    why="PostgreSQL cuts a name at 63 bytes, silently; two long names may become one.",
    instead="a shorter name",
    bad=f"create table app.{'t' * 64} (i bigint);",
    good=f"create table app.{'t' * 63} (i bigint);",
    squawk=True,
)

REQUIRE_TABLE_SCHEMA = Rule(
    id="require-table-schema",
    severity=Severity.INFO,
    why="Without a schema the name means whatever search_path finds that day.",
    instead="the schema before the name",
    bad="create table n (id bigint);",
    good="create table app.n (id bigint);",
    squawk=True,
)

BAN_DUPLICATE_COLUMN_ASSIGNMENTS = Rule(
    id="ban-duplicate-column-assignments",
    severity=Severity.ERROR,
    why="PostgreSQL refuses an UPDATE that sets a column twice.",
    instead="one of the two",
    bad="update app.t set b = 1, b = 2 where a = 1;",
    good="update app.t set b = 1 where a = 1;",
    squawk=True,
)

CHOSEN_OF_SQUAWK = (
    REQUIRE_CONCURRENT_INDEX_CREATION,
    REQUIRE_CONCURRENT_INDEX_DELETION,
    REQUIRE_CONCURRENT_REINDEX,
    REQUIRE_CONCURRENT_PARTITION_DETACH,
    CONSTRAINT_MISSING_NOT_VALID,
    ADDING_FOREIGN_KEY_CONSTRAINT,
    DISALLOWED_UNIQUE_CONSTRAINT,
    ADDING_SERIAL_PRIMARY_KEY_FIELD,
    ADDING_NOT_NULLABLE_FIELD,
    BAN_ALTER_DOMAIN_WITH_ADD_CONSTRAINT,
    ADDING_REQUIRED_FIELD,
    ADDING_FIELD_WITH_DEFAULT,
    CHANGING_COLUMN_TYPE,
    RENAMING_COLUMN,
    RENAMING_TABLE,
    RENAMING_OBJECT,
    BAN_DROP_COLUMN,
    BAN_DROP_TABLE,
    BAN_DROP_VIEW,
    BAN_DROP_FUNCTION,
    BAN_DROP_TYPE,
    BAN_DROP_SCHEMA,
    BAN_DROP_DATABASE,
    BAN_TRUNCATE_CASCADE,
    PREFER_IDENTITY,
    PREFER_TIMESTAMP_TZ,
    BAN_CHAR_FIELD,
    IDENTIFIER_TOO_LONG,
    REQUIRE_TABLE_SCHEMA,
    BAN_DUPLICATE_COLUMN_ASSIGNMENTS,
)

ABOUT_WORDS = frozenset(
    {
        PREFER_IDENTITY.id,
        PREFER_TIMESTAMP_TZ.id,
        BAN_CHAR_FIELD.id,
        IDENTIFIER_TOO_LONG.id,
        BAN_DUPLICATE_COLUMN_ASSIGNMENTS.id,
    }
)
"""The rules that hold of a table which the same file makes, too."""
