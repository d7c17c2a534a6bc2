"""Rules of our own about the text: what the parse tree shows and squawk does not look for.

The locks are those that PostgreSQL 18 was seen to take.
"""

from __future__ import annotations

from headwater.checks.rules.rule import Claim, Rule
from headwater.model import Severity

NOT_REPEATABLE = Rule(
    id="not-repeatable",
    severity=Severity.WARNING,
    why="It stays when reset drops the schemas, and the file fails on it the next time.",
    instead="IF NOT EXISTS, DROP … IF EXISTS above it, or a DO block that looks first",
    bad="create publication changes;",
    good="drop publication if exists changes;\ncreate publication changes;",
)

# --- sessions and transactions ----------------------------------------------------------------

SETTING_LEFT = Rule(
    id="setting-left",
    severity=Severity.WARNING,
    why="It outlives the transaction: what runs next in the session runs with it.",
    instead="SET LOCAL, or set_config(…, true)",
    bad="set search_path = app;\ncomment on table t is 'Things.';",
    good="set local search_path = app;\ncomment on table t is 'Things.';",
)

COMMIT_IN_BLOCK = Rule(
    id="commit-in-block",
    severity=Severity.ERROR,
    why="A block inside a transaction cannot end it: PostgreSQL refuses the statement (2D000).",
    instead="remove it, or move the block into a file with -- headwater: no-transaction",
    bad="do $$ begin\n    update app.t set b = 1 where a = 1;\n    commit;\nend $$;",
    good="-- headwater: no-transaction\n"
    "do $$ begin\n    update app.t set b = 1 where a = 1;\n    commit;\nend $$;",
)

ENUM_VALUE_USED = Rule(
    id="enum-value-used",
    severity=Severity.ERROR,
    why="A value that was added to an enum cannot be used before its transaction has ended.",
    instead="use it in the next migration",
    bad="alter type app.mood add value 'calm';\ninsert into app.days values ('calm'::app.mood);",
    good="alter type app.mood add value 'calm';",
    setup="create type app.mood as enum ('glad');\ncreate table app.days (mood app.mood);",
)

CONCURRENTLY_NOT_ALONE = Rule(
    id="concurrently-not-alone",
    severity=Severity.INFO,
    why="When a later statement fails, the file is half done: each part ends for itself.",
    instead="a file for each CONCURRENTLY",
    bad="-- headwater: no-transaction\n"
    "create index concurrently t_b on app.t (b);\n"
    "create index concurrently t_u on app.t (u_id);",
    good="-- headwater: no-transaction\ncreate index concurrently t_b on app.t (b);",
)

VALIDATE_IN_SAME_FILE = Rule(
    id="validate-in-same-file",
    severity=Severity.WARNING,
    why="The lock of ADD CONSTRAINT is held while every row is read: NOT VALID gains nothing.",
    instead="VALIDATE CONSTRAINT in the next migration",
    bad="alter table app.t add constraint c check (a > 0) not valid;\n"
    "alter table app.t validate constraint c;",
    good="alter table app.t validate constraint b_known;",
    setup="alter table app.t add constraint b_known check (b is not null) not valid;",
    claim=Claim.SCAN,
    lock="ACCESS EXCLUSIVE from ADD CONSTRAINT to the end of the transaction",
)

# --- rows -------------------------------------------------------------------------------------

UPDATE_WITHOUT_WHERE = Rule(
    id="update-without-where",
    severity=Severity.WARNING,
    why="Every row is written anew and stays locked until the end of the transaction.",
    instead="batches by key, each a transaction of its own, outside the migration",
    bad="update app.t set b = 0;",
    good="update app.t set b = 0 where a = 1;",
    lock="ROW EXCLUSIVE, and each row",
)

DELETE_WITHOUT_WHERE = Rule(
    id="delete-without-where",
    severity=Severity.WARNING,
    why="Every row goes, one by one, and stays locked until the end of the transaction.",
    instead="say which rows, or TRUNCATE when all are meant",
    bad="delete from app.t;",
    good="delete from app.t where a = 1;",
    lock="ROW EXCLUSIVE, and each row",
)

TRUNCATE = Rule(
    id="truncate",
    severity=Severity.WARNING,
    why="All rows are gone at once, and nobody can read or write the table meanwhile.",
    instead="DELETE with a WHERE, or allow with the reason why nobody needs the rows",
    bad="truncate app.t;",
    good="delete from app.t where a = 1;",
    lock="ACCESS EXCLUSIVE",
)

DROP_CASCADE = Rule(
    id="drop-cascade",
    severity=Severity.WARNING,
    why="CASCADE drops whatever depends on it, in production perhaps more than here.",
    instead="drop by name what depends on it, then this, without CASCADE",
    bad="drop sequence app.numbers cascade;",
    good="drop sequence app.numbers;",
    setup="create sequence app.numbers;",
    lock="ACCESS EXCLUSIVE on whatever goes with it",
)

# --- locks ------------------------------------------------------------------------------------

LOCK_TABLE = Rule(
    id="lock-table",
    severity=Severity.WARNING,
    why="Whoever writes the table waits until the end of the transaction.",
    instead="leave the lock to the statement that needs it, or lock rows (FOR UPDATE)",
    bad="lock table app.t in exclusive mode;",
    good="lock table app.t in share update exclusive mode;",
    claim=Claim.LOCK,
    lock="as it says; without a mode ACCESS EXCLUSIVE",
)

CREATE_TRIGGER = Rule(
    id="create-trigger",
    severity=Severity.INFO,
    why="Writers wait while it is made, and run it from then on.",
    instead="a file of its own, so that its lock is held no longer than it takes",
    bad="create trigger w before insert on app.t for each row execute function app.f();",
    good="create function app.g() returns trigger language plpgsql as 'begin return new; end';",
    setup="create function app.f() returns trigger language plpgsql as 'begin return new; end';",
    claim=Claim.LOCK,
    lock="SHARE ROW EXCLUSIVE",
)

DISABLE_TRIGGER = Rule(
    id="disable-trigger",
    severity=Severity.WARNING,
    why="What the trigger guards is not guarded until it is on again, for every session.",
    instead="SET LOCAL session_replication_role = replica, for this transaction alone",
    bad="alter table app.t disable trigger user;",
    good="alter table app.t disable trigger user;\n"
    "update app.t set b = 0 where a = 1;\n"
    "alter table app.t enable trigger user;",
    lock="SHARE ROW EXCLUSIVE",
)

PARTITION_OF = Rule(
    id="partition-of",
    severity=Severity.WARNING,
    why="CREATE TABLE … PARTITION OF waits for every query on the parent, and all wait behind it.",
    instead="CREATE TABLE (LIKE parent), then ATTACH PARTITION, which lets reads and writes go on",
    bad="create table app.days_2 partition of app.days for values from (10) to (20);",
    good="create table app.days_2 (like app.days);\n"
    "alter table app.days attach partition app.days_2 for values from (10) to (20);",
    setup="create table app.days (day integer) partition by range (day);",
    claim=Claim.LOCK,
    lock="ACCESS EXCLUSIVE on the parent",
)

ATTACH_PARTITION = Rule(
    id="attach-partition",
    severity=Severity.WARNING,
    why="Every row of the new partition is read, which nobody else can use meanwhile.",
    instead="first a CHECK of the same bounds, validated in an earlier migration: "
    "then nothing is read",
    bad="alter table app.days attach partition app.old for values from (0) to (10);",
    good="create table app.days_2 (like app.days);\n"
    "alter table app.days attach partition app.days_2 for values from (10) to (20);",
    setup="create table app.days (day integer) partition by range (day);\n"
    "create table app.old (day integer);",
    claim=Claim.SCAN,
    lock="SHARE UPDATE EXCLUSIVE on the parent, ACCESS EXCLUSIVE on the partition",
)

REFRESH_NOT_CONCURRENT = Rule(
    id="refresh-not-concurrent",
    severity=Severity.WARNING,
    why="Nobody can read the view until all of it is computed anew.",
    instead="REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index on the view",
    bad="refresh materialized view app.totals;",
    good="refresh materialized view concurrently app.totals;",
    setup="create materialized view app.totals as select a, sum(b) from app.t group by a;\n"
    "create unique index totals_a on app.totals (a);",
    claim=Claim.LOCK,
    lock="ACCESS EXCLUSIVE; EXCLUSIVE with CONCURRENTLY",
)

# --- rewrites and scans -----------------------------------------------------------------------

CLUSTER_OR_VACUUM_FULL = Rule(
    id="cluster-or-vacuum-full",
    severity=Severity.WARNING,
    why="The table and its indexes are written anew with reads and writes blocked.",
    instead="pg_repack, or plain VACUUM",
    bad="cluster app.t using i;",
    good="-- headwater: no-transaction\nvacuum app.t;",
    claim=Claim.REWRITE,
    lock="ACCESS EXCLUSIVE",
)

MOVE_TABLE = Rule(
    id="move-table",
    severity=Severity.WARNING,
    why="The whole table is copied to where it is to be, with reads and writes blocked.",
    instead="make a new table that is so from the start, fill it in batches, and swap the names",
    bad="alter table app.t set unlogged;",
    good="create unlogged table app.buffer (id bigint);",
    claim=Claim.REWRITE,
    lock="ACCESS EXCLUSIVE",
)

ADD_COLUMN_CHECK = Rule(
    id="add-column-check",
    severity=Severity.WARNING,
    why="Every row is read with reads and writes blocked, though none has a value yet.",
    instead="ADD COLUMN alone, then ADD CONSTRAINT … CHECK … NOT VALID, "
    "and VALIDATE CONSTRAINT in the next migration",
    bad="alter table app.t add column c bigint check (c > 0);",
    good="alter table app.t add column c bigint, add constraint c check (c > 0) not valid;",
    claim=Claim.SCAN,
    lock="ACCESS EXCLUSIVE",
)

STORED_GENERATED_COLUMN = Rule(
    id="stored-generated-column",
    severity=Severity.WARNING,
    why="The value is stored in every row: the table is written anew, reads and writes blocked.",
    instead="a nullable column, a trigger that fills it, and the old rows in batches",
    safe=((18, "GENERATED ALWAYS AS (…) VIRTUAL, which stores nothing"),),
    bad="alter table app.t add column c bigint generated always as (a * 2) stored;",
    good="alter table app.t add column c bigint;",
    claim=Claim.REWRITE,
    lock="ACCESS EXCLUSIVE",
)

ADD_SERIAL_COLUMN = Rule(
    id="add-serial-column",
    severity=Severity.WARNING,
    why="Every row gets a number: the table is written anew with reads and writes blocked.",
    instead="a nullable column, a sequence as its default, the old rows in batches, "
    "then NOT NULL and identity",
    bad="alter table app.t add column n bigint generated always as identity;",
    good="create sequence app.t_n;\n"
    "alter table app.t add column n bigint;\n"
    "alter table app.t alter column n set default nextval('app.t_n');",
    claim=Claim.REWRITE,
    lock="ACCESS EXCLUSIVE",
)

ADD_DOMAIN_COLUMN = Rule(
    id="add-domain-column",
    severity=Severity.WARNING,
    why="A column of a domain with a constraint makes PostgreSQL write the table anew.",
    instead="a column of the type below it, then CHECK … NOT VALID",
    bad="create domain app.price as numeric check (value >= 0);\n"
    "alter table app.t add column c app.price;",
    good="alter table app.t add column c numeric, add constraint c check (c >= 0) not valid;",
    claim=Claim.REWRITE,
    lock="ACCESS EXCLUSIVE",
)

ADDING_EXCLUSION = Rule(
    id="adding-exclusion-constraint",
    severity=Severity.WARNING,
    why="Its index is built with reads and writes blocked, and there is no way to do it online.",
    instead="a new table with the constraint, filled in batches, then a swap of names",
    bad="alter table app.t add constraint x exclude using btree (b with =);",
    good="create table app.n (b bigint, constraint x exclude using btree (b with =));",
    claim=Claim.INDEX_BUILD,
    lock="ACCESS EXCLUSIVE",
)

# --- types ------------------------------------------------------------------------------------

JSON_COLUMN = Rule(
    id="json-column",
    severity=Severity.WARNING,
    why="json has no equality: DISTINCT, GROUP BY and UNION over it fail, and no index helps.",
    instead="jsonb",
    bad="create table app.n (c json);",
    good="create table app.n (c jsonb);",
)

MONEY_COLUMN = Rule(
    id="money-column",
    severity=Severity.WARNING,
    why="money is read and written as lc_monetary says, and knows neither currency nor fractions.",
    instead="numeric, and the currency beside it",
    bad="create table app.n (c money);",
    good="create table app.n (c numeric);",
)

INTEGER_PRIMARY_KEY = Rule(
    id="integer-primary-key",
    severity=Severity.WARNING,
    why="It ends at 2,147,483,647, and a wider one later is a rewrite of every table that uses it.",
    instead="bigint",
    bad="create table app.n (id integer primary key);",
    good="create table app.n (id bigint primary key);",
)

# --- rights and secrets -----------------------------------------------------------------------

PASSWORD_LITERAL = Rule(
    id="password-literal",
    severity=Severity.ERROR,
    why="A password in a file stays in its history, in every clone, and in the server's log.",
    instead="set it outside the migrations (\\password in psql), or write its SCRAM verifier",
    bad="alter role current_user password 'example';",
    good="alter role current_user password null;",
)

GRANT_TO_PUBLIC = Rule(
    id="grant-to-public",
    severity=Severity.WARNING,
    why="PUBLIC is everybody who can connect, now and later.",
    instead="GRANT to a role that stands for who needs it",
    bad="grant select on app.t to public;",
    good="grant select on app.t to pg_monitor;",
)

SECURITY_DEFINER_SEARCH_PATH = Rule(
    id="security-definer-search-path",
    severity=Severity.WARNING,
    why="Its caller chooses search_path, and so which functions and tables its owner's rights run.",
    instead="SET search_path = '' on the function, and names with their schemas",
    bad="create function app.f() returns bigint language sql security definer\n"
    "as 'select count(*) from app.t';",
    good="create function app.f() returns bigint language sql security definer\n"
    "set search_path = '' as 'select count(*) from app.t';",
)

POLICY_SETTING_MISSING_OK = Rule(
    id="policy-setting-missing-ok",
    severity=Severity.WARNING,
    why="Where the setting was never set, every query fails instead of finding no row.",
    instead="current_setting(name, true), which gives NULL",
    bad="create policy p on app.t using (u_id = (select current_setting('app.u')::bigint));",
    good="create policy p on app.t using (u_id = (select current_setting('app.u', true)::bigint));",
)

POLICY_SETTING_PER_ROW = Rule(
    id="policy-setting-per-row",
    severity=Severity.WARNING,
    why="The setting is read again for each row.",
    instead="(select current_setting(…)), which is asked once a query",
    bad="create policy p on app.t using (u_id = current_setting('app.u', true)::bigint);",
    good="create policy p on app.t using (u_id = (select current_setting('app.u', true)::bigint));",
)

OWN = (
    NOT_REPEATABLE,
    SETTING_LEFT,
    COMMIT_IN_BLOCK,
    ENUM_VALUE_USED,
    CONCURRENTLY_NOT_ALONE,
    VALIDATE_IN_SAME_FILE,
    UPDATE_WITHOUT_WHERE,
    DELETE_WITHOUT_WHERE,
    TRUNCATE,
    DROP_CASCADE,
    LOCK_TABLE,
    CREATE_TRIGGER,
    DISABLE_TRIGGER,
    PARTITION_OF,
    ATTACH_PARTITION,
    REFRESH_NOT_CONCURRENT,
    CLUSTER_OR_VACUUM_FULL,
    MOVE_TABLE,
    ADD_COLUMN_CHECK,
    STORED_GENERATED_COLUMN,
    ADD_SERIAL_COLUMN,
    ADD_DOMAIN_COLUMN,
    ADDING_EXCLUSION,
    JSON_COLUMN,
    MONEY_COLUMN,
    INTEGER_PRIMARY_KEY,
    PASSWORD_LITERAL,
    GRANT_TO_PUBLIC,
    SECURITY_DEFINER_SEARCH_PATH,
    POLICY_SETTING_MISSING_OK,
    POLICY_SETTING_PER_ROW,
)
