"""Rules about what the catalogue holds after the files that it did not hold before."""

from __future__ import annotations

from typing import Final

from headwater.checks.rules.rule import Rule
from headwater.model import Layer, Severity

_TO_U: Final = "foreign key (u_id) references app.u (id)"
_USER: Final = "(select current_setting('app.user', true))"
_LOCKED_DOWN: Final = f"""\
alter table app.t enable row level security;
create policy own on app.t using (name = {_USER});
"""

_KEYS: Final = (
    Rule(
        id="foreign-key-without-index",
        severity=Severity.WARNING,
        why="Each delete in the other table, and each change of its key, reads all of this one.",
        instead="an index that begins with the columns of the key, CONCURRENTLY in its own file",
        bad=f"alter table app.t add constraint f {_TO_U} not valid;",
        good=(
            "-- headwater: no-transaction\n"
            "create index concurrently t_u_id on app.t (u_id);\n"
            f"alter table app.t add constraint f {_TO_U} not valid;"
        ),
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="foreign-key-narrower",
        severity=Severity.WARNING,
        why="A key that outgrows the column cannot be referred to any more.",
        instead="a column of the same type as the key it refers to",
        setup="create index t_b on app.t (b);",
        bad="alter table app.t add constraint f foreign key (a) references app.u (id) not valid;",
        good="alter table app.t add constraint f foreign key (b) references app.u (id) not valid;",
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="no-primary-key",
        severity=Severity.WARNING,
        why="Nothing tells its rows apart: no foreign key can refer to one, and logical "
        "replication refuses to change one.",
        instead="a primary key: id bigint generated always as identity primary key",
        bad="create table app.log (at timestamptz not null, line text not null);",
        good=(
            "create table app.log (\n"
            "    id bigint generated always as identity primary key,\n"
            "    at timestamptz not null,\n"
            "    line text not null\n"
            ");"
        ),
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="integer-key",
        severity=Severity.INFO,
        why="It ends at 2,147,483,647 (a smallint at 32,767), and widening it rewrites the table.",
        instead="bigint",
        bad="create table app.s (id integer generated always as identity primary key);",
        good="create table app.s (id bigint generated always as identity primary key);",
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="narrow-sequence",
        severity=Severity.WARNING,
        why="Inserts fail where the sequence ends: that of a serial stays as it was when its "
        "column becomes bigint.",
        instead="ALTER SEQUENCE … AS bigint, too",
        bad=(
            "create sequence app.s_id as integer;\n"
            "create table app.s (id bigint primary key default nextval('app.s_id'));\n"
            "alter sequence app.s_id owned by app.s.id;"
        ),
        good=(
            "create sequence app.s_id as bigint;\n"
            "create table app.s (id bigint primary key default nextval('app.s_id'));\n"
            "alter sequence app.s_id owned by app.s.id;"
        ),
        layer=Layer.CATALOGUE,
    ),
)

_INDEXES: Final = (
    Rule(
        id="duplicate-index",
        severity=Severity.WARNING,
        why="Each write keeps both, and no query gains by it.",
        instead="drop the one that is not needed: DROP INDEX CONCURRENTLY",
        bad="-- headwater: no-transaction\ncreate index concurrently t_a on app.t (a);",
        good="-- headwater: no-transaction\ncreate index concurrently t_b on app.t (b);",
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="invalid-index",
        severity=Severity.INFO,
        why="Each write keeps it, and no query may use it.",
        instead="attach an index of each partition to it; one whose build failed is dropped, and "
        "built again",
        setup=(
            "create table app.p (id bigint primary key, a bigint) partition by range (id);\n"
            "create table app.p_1 partition of app.p for values from (1) to (1000);"
        ),
        bad="create index p_a on only app.p (a);",
        good=(
            "-- headwater: no-transaction\n"
            "create index p_a on only app.p (a);\n"
            "create index concurrently p_1_a on app.p_1 (a);\n"
            "alter index app.p_a attach partition app.p_1_a;"
        ),
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="matview-without-unique-index",
        severity=Severity.INFO,
        why="Nobody can read it while it is refreshed.",
        instead="a unique index on plain columns, so that REFRESH … CONCURRENTLY works",
        bad="create materialized view app.m as select id, name from app.u;",
        good=(
            "create materialized view app.m as select id, name from app.u;\n"
            "create unique index m_id on app.m (id);"
        ),
        layer=Layer.CATALOGUE,
    ),
)

_UNFINISHED: Final = (
    Rule(
        id="unvalidated-constraint",
        severity=Severity.INFO,
        why="The rows that were there before it were never looked at.",
        instead="VALIDATE CONSTRAINT, in a file of its own that runs later",
        setup="alter table app.t add constraint c check (a > 0) not valid;",
        bad="alter table app.t add constraint d check (b > 0) not valid;",
        good="alter table app.t validate constraint c;",
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="disabled-trigger",
        severity=Severity.WARNING,
        why="Whatever it keeps right goes wrong from now on, and nothing says so.",
        instead="enable it again in the same file, behind what it would have disturbed",
        setup=(
            "create function app.touch() returns trigger language plpgsql as\n"
            "    $$ begin new.at := now(); return new; end $$;\n"
            "create trigger touch before update on app.t for each row execute function app.touch();"
        ),
        bad="alter table app.t disable trigger touch;\nupdate app.t set b = 0 where b is null;",
        good=(
            "alter table app.t disable trigger touch;\n"
            "update app.t set b = 0 where b is null;\n"
            "alter table app.t enable trigger touch;"
        ),
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="published-without-identity",
        severity=Severity.ERROR,
        why="Every UPDATE and DELETE on it fails from now on.",
        instead="a primary key, or ALTER TABLE … REPLICA IDENTITY, before it is published",
        setup=(
            "create table app.log (at timestamptz not null, line text not null);\n"
            "create publication changes for table app.t;"
        ),
        bad="alter publication changes add table app.log;",
        good=(
            "alter table app.log replica identity full;\n"
            "alter publication changes add table app.log;"
        ),
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="unlogged-table",
        severity=Severity.WARNING,
        why="It is empty after a crash of the server, and on every standby.",
        instead="CREATE TABLE without UNLOGGED",
        bad="create unlogged table app.s (id bigint primary key);",
        good="create table app.s (id bigint primary key);",
        layer=Layer.CATALOGUE,
    ),
)

_ROW_SECURITY: Final = (
    Rule(
        id="rls-without-policy",
        severity=Severity.WARNING,
        why="Nobody but its owner sees a row of it.",
        instead="a policy for each role and command that is to see or change rows",
        bad="alter table app.t enable row level security;",
        good=_LOCKED_DOWN,
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="policy-without-rls",
        severity=Severity.ERROR,
        why="A policy does nothing on a table whose row security is off: everybody sees every row.",
        instead="ALTER TABLE … ENABLE ROW LEVEL SECURITY",
        bad="create policy own on app.t using (u_id = 1);",
        good=_LOCKED_DOWN,
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="policy-always-true",
        severity=Severity.WARNING,
        why="It is as if there were no row security for that command.",
        instead="a condition; or FOR SELECT, where everybody is to read and nobody to write",
        setup="alter table app.t enable row level security;",
        bad="create policy everybody on app.t using (true);",
        good="create policy everybody on app.t for select using (true);",
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="view-bypasses-rls",
        severity=Severity.WARNING,
        why="Who may read the view sees the rows that its owner sees, which are mostly all.",
        instead="WITH (security_invoker = true)",
        setup=_LOCKED_DOWN,
        bad="create view app.v as select id, name from app.t;",
        good="create view app.v with (security_invoker = true) as select id, name from app.t;",
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="partition-bypasses-rls",
        severity=Severity.WARNING,
        why="Policies of a parent do not hold for who asks its partition by name.",
        instead="no grants on partitions, which queries on the parent do not need; or row security "
        "on each",
        setup=(
            "create table app.p (id bigint primary key, a bigint) partition by range (id);\n"
            "alter table app.p enable row level security;\n"
            "create policy own on app.p using (a = 1);\n"
            "create table app.p_1 partition of app.p for values from (1) to (1000);"
        ),
        bad="grant select on app.p, app.p_1 to pg_monitor;",
        good="grant select on app.p to pg_monitor;",
        layer=Layer.CATALOGUE,
    ),
)

_RIGHTS: Final = (
    Rule(
        id="security-definer-public",
        severity=Severity.WARNING,
        why="EXECUTE is everybody's from the start, and the function has the rights of its owner.",
        instead="REVOKE EXECUTE … FROM PUBLIC, and GRANT EXECUTE to the roles that need it",
        setup="grant usage on schema app to pg_monitor;",
        bad=(
            "create function app.names() returns bigint language sql stable security definer\n"
            "    set search_path = '' as 'select count(*) from app.u';"
        ),
        good=(
            "create function app.names() returns bigint language sql stable security definer\n"
            "    set search_path = '' as 'select count(*) from app.u';\n"
            "revoke execute on function app.names() from public;\n"
            "grant execute on function app.names() to pg_monitor;"
        ),
        layer=Layer.CATALOGUE,
    ),
    Rule(
        id="granted-to-public",
        severity=Severity.WARNING,
        why="Every role of the server has it, today's and those to come.",
        instead="GRANT to a role of the application",
        bad="grant select, insert on app.t to public;",
        good="grant select, insert on app.t to pg_monitor;",
        layer=Layer.CATALOGUE,
    ),
)

# (Three more are known to the text already, and told by the same rules of own.py where only the
# catalogue shows them: policy-setting-missing-ok, policy-setting-per-row,
# security-definer-search-path.)
CATALOGUE: tuple[Rule, ...] = (*_KEYS, *_INDEXES, *_UNFINISHED, *_ROW_SECURITY, *_RIGHTS)
