"""The statements of docs/locks.md: each with what was there before it, and since when it exists."""

from __future__ import annotations

from dataclasses import dataclass

SETUP = """
create schema app;
create table app.customers (id bigint generated always as identity primary key, name text not null);
create table app.orders (
    id bigint generated always as identity primary key,
    customer_id bigint not null,
    number integer,
    note varchar(20),
    at timestamptz not null default now(),
    total bigint constraint total_there check (total is not null),
    constraint numbered unique (number)
);
alter table app.orders
    add constraint small check (id < 1000000) not valid,
    add constraint placed foreign key (customer_id) references app.customers not valid;
create table app.items (id bigint primary key, order_id bigint references app.orders);
create table app.plain (id bigint, note text);
create unique index plain_id on app.plain (id);
create table app.empty (id bigint primary key, customer_id bigint);
create index orders_note on app.orders (note);
create unique index orders_id on app.orders (id);
create unique index orders_total on app.orders (total);
create sequence app.numbers;
create function app.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger touch before update on app.orders for each row execute function app.touch();
create policy own on app.orders using (id = 1);
create rule keep as on delete to app.empty do instead nothing;
create view app.recent as select id, customer_id from app.orders;
create materialized view app.totals as select customer_id, sum(total) from app.orders group by 1;
create unique index totals_customer on app.totals (customer_id);
create domain app.amount as bigint;
create domain app.price as bigint;
alter domain app.price add constraint positive check (value > 0) not valid;
create table app.bills (id bigint primary key, sum app.amount, price app.price);
create type app.state as enum ('open', 'paid');
create table app.log (at timestamptz not null, line text) partition by range (at);
create table app.log_2024 partition of app.log
    for values from ('2024-01-01 00:00+00') to ('2025-01-01 00:00+00');
create table app.log_2025 (at timestamptz not null, line text);
create table app.log_2026 (at timestamptz not null, line text,
    check (at >= '2026-01-01 00:00+00' and at < '2027-01-01 00:00+00'));
create table app.events (kind text not null) partition by list (kind);
create table app.events_rest partition of app.events default;
insert into app.customers (name) select 'c' || n from generate_series(1, 2000) n;
insert into app.orders (customer_id, number, note, total)
    select n, n, 'note ' || n, n from generate_series(1, 2000) n;
insert into app.items select n, n from generate_series(1, 2000) n;
insert into app.plain select n, 'note ' || n from generate_series(1, 2000) n;
insert into app.bills select n, n, n from generate_series(1, 2000) n;
insert into app.events select 'e' || n from generate_series(1, 2000) n;
insert into app.log select timestamptz '2024-01-01 00:00+00' + n * interval '1 day', n::text
    from generate_series(1, 100) n;
insert into app.log_2025 select timestamptz '2025-01-01 00:00+00' + n * interval '1 day', n::text
    from generate_series(1, 100) n;
insert into app.log_2026 select timestamptz '2026-01-01 00:00+00' + n * interval '1 day', n::text
    from generate_series(1, 100) n;
refresh materialized view app.totals;
create publication changes for table app.bills;
alter table app.orders set (autovacuum_enabled = false);
analyze;
"""
"""What every statement finds: enough rows that a query for one of them uses an index.

What is NOT VALID is added to a table that is there: CREATE TABLE takes it for valid.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One statement that is measured, from a version of PostgreSQL on.

    `blockers` are for statements that let their locks go before they end: each is run in a session
    of its own before the statement, which then has to wait, with its locks in sight.
    """

    statement: str
    since: int = 15
    blockers: tuple[str, ...] = ()


def _alter(*actions: str, since: int = 15) -> tuple[Form, ...]:
    return tuple(Form(statement=f"ALTER TABLE app.orders {one}", since=since) for one in actions)


def _each(*statements: str) -> tuple[Form, ...]:
    return tuple(Form(statement=one) for one in statements)


def _waiting(statement: str, *blockers: str) -> Form:
    return Form(statement=statement, blockers=blockers)


_WRITES_ORDERS = "LOCK TABLE app.orders IN ROW EXCLUSIVE MODE"
_READS_ORDERS = "LOCK TABLE app.orders IN ACCESS SHARE MODE"

GROUPS: dict[str, tuple[Form, ...]] = {
    "Columns": (
        *_alter(
            "ADD COLUMN more text",
            "ADD COLUMN more text NOT NULL DEFAULT 'x'",
            "ADD COLUMN more timestamptz DEFAULT now()",
            "ADD COLUMN more uuid DEFAULT gen_random_uuid()",
            "ADD COLUMN more bigint GENERATED ALWAYS AS IDENTITY",
            "ADD COLUMN more bigint GENERATED ALWAYS AS (total * 2) STORED",
        ),
        *_alter("ADD COLUMN more bigint GENERATED ALWAYS AS (total * 2) VIRTUAL", since=18),
        *_alter(
            "ADD COLUMN more bigint CHECK (more > 0)",
            "ADD COLUMN more bigint REFERENCES app.customers",
            "ADD COLUMN more app.price",
            "DROP COLUMN note",
            "ALTER COLUMN number TYPE bigint",
            "ALTER COLUMN note TYPE varchar(40)",
            "ALTER COLUMN note TYPE varchar(10)",
            "ALTER COLUMN note TYPE text",
            "ALTER COLUMN at TYPE timestamp",
            "ALTER COLUMN note SET DEFAULT 'x'",
            "ALTER COLUMN number SET NOT NULL",
            "ALTER COLUMN total SET NOT NULL /* which its CHECK proves */",
            "ALTER COLUMN customer_id DROP NOT NULL",
            "ALTER COLUMN note SET STORAGE external",
            "ALTER COLUMN note SET STATISTICS 500",
            "RENAME COLUMN note TO remark",
        ),
    ),
    "Constraints": (
        *_alter(
            "ADD CONSTRAINT c CHECK (number > 0)",
            "ADD CONSTRAINT c CHECK (number > 0) NOT VALID",
            "VALIDATE CONSTRAINT small",
            "ADD CONSTRAINT c FOREIGN KEY (customer_id) REFERENCES app.customers",
            "ADD CONSTRAINT c FOREIGN KEY (customer_id) REFERENCES app.customers NOT VALID",
            "VALIDATE CONSTRAINT placed",
        ),
        *_alter("ADD CONSTRAINT c NOT NULL number NOT VALID", since=18),
        *_alter(
            "ADD CONSTRAINT c UNIQUE (customer_id)",
            "ADD CONSTRAINT c UNIQUE USING INDEX orders_id",
            "ADD CONSTRAINT c EXCLUDE USING gist (int8range(id, id, '[]') WITH &&)",
            "DROP CONSTRAINT small",
            "DROP CONSTRAINT placed",
            "DROP CONSTRAINT numbered",
        ),
        *_each(
            "ALTER TABLE app.plain ADD PRIMARY KEY (id)",
            "ALTER TABLE app.plain ADD PRIMARY KEY USING INDEX plain_id",
            "ALTER DOMAIN app.amount ADD CONSTRAINT c CHECK (value > 0)",
            "ALTER DOMAIN app.amount ADD CONSTRAINT c CHECK (value > 0) NOT VALID",
            "ALTER DOMAIN app.price VALIDATE CONSTRAINT positive",
        ),
    ),
    "Indexes": (
        *_each(
            "CREATE INDEX ON app.orders (total)",
            "DROP INDEX app.orders_note",
            "REINDEX INDEX app.orders_note",
            "REINDEX TABLE app.orders",
            "ALTER INDEX app.orders_note RENAME TO orders_remark",
        ),
        _waiting("CREATE INDEX CONCURRENTLY made ON app.orders (total)", _WRITES_ORDERS),
        _waiting("REINDEX INDEX CONCURRENTLY app.orders_note", _WRITES_ORDERS),
        _waiting("DROP INDEX CONCURRENTLY app.made", _WRITES_ORDERS),
    ),
    "Tables": (
        *_each(
            "CREATE TABLE app.made (id bigint REFERENCES app.customers)",
            "CREATE TABLE app.made (LIKE app.orders)",
            "DROP TABLE app.items",
            "DROP TABLE app.orders CASCADE",
            "TRUNCATE app.items",
            "TRUNCATE app.orders CASCADE",
        ),
        *_alter(
            "RENAME TO purchases",
            "SET SCHEMA public",
            "OWNER TO CURRENT_USER",
            "SET (fillfactor = 80)",
            "SET (autovacuum_enabled = false)",
            "CLUSTER ON orders_pkey",
            "REPLICA IDENTITY FULL",
        ),
        *_each(
            "ALTER TABLE app.items SET UNLOGGED",
            "COMMENT ON TABLE app.orders IS 'x'",
            "GRANT SELECT ON app.orders TO pg_monitor",
            "CREATE STATISTICS app.made ON number, note FROM app.orders",
            "ANALYZE app.orders",
            "CLUSTER app.orders USING orders_pkey",
        ),
        _waiting("VACUUM app.orders", "LOCK TABLE app.orders IN SHARE UPDATE EXCLUSIVE MODE"),
        _waiting("VACUUM FULL app.orders", _READS_ORDERS),
    ),
    "Partitions": (
        *_each(
            "CREATE TABLE app.log_2027 PARTITION OF app.log\n"
            "    FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
            "CREATE TABLE app.events_a PARTITION OF app.events FOR VALUES IN ('a')",
            "ALTER TABLE app.log ATTACH PARTITION app.log_2025\n"
            "    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
            "ALTER TABLE app.log ATTACH PARTITION app.log_2026\n"
            "    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') /* which its CHECK proves */",
            "ALTER TABLE app.log DETACH PARTITION app.log_2024",
            "CREATE INDEX ON app.log (line)",
            "CREATE INDEX ON ONLY app.log (line)",
        ),
        _waiting(
            "ALTER TABLE app.log DETACH PARTITION app.log_2024 CONCURRENTLY",
            "LOCK TABLE ONLY app.log IN ACCESS SHARE MODE",
            "LOCK TABLE app.log_2024 IN ACCESS SHARE MODE",
        ),
    ),
    "Triggers, policies, rules": (
        *_each(
            "CREATE TRIGGER again BEFORE INSERT ON app.orders\n"
            "    FOR EACH ROW EXECUTE FUNCTION app.touch()",
            "DROP TRIGGER touch ON app.orders",
        ),
        *_alter("DISABLE TRIGGER touch", "ENABLE ROW LEVEL SECURITY"),
        *_each(
            "CREATE POLICY other ON app.orders USING (true)",
            "ALTER POLICY own ON app.orders USING (true)",
            "DROP POLICY own ON app.orders",
            "CREATE RULE more AS ON UPDATE TO app.empty DO ALSO SELECT 1",
        ),
    ),
    "Views, types, sequences, publications": _each(
        "CREATE VIEW app.made AS SELECT id FROM app.orders",
        "CREATE OR REPLACE VIEW app.recent AS SELECT id, customer_id FROM app.orders",
        "CREATE MATERIALIZED VIEW app.made AS SELECT id FROM app.orders",
        "REFRESH MATERIALIZED VIEW app.totals",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY app.totals",
        "ALTER TYPE app.state ADD VALUE 'void'",
        "ALTER SEQUENCE app.numbers INCREMENT 2",
        "ALTER PUBLICATION changes ADD TABLE app.items",
    ),
    "Rows": _each(
        "SELECT * FROM app.orders",
        "SELECT * FROM app.orders FOR UPDATE",
        "INSERT INTO app.empty SELECT id, customer_id FROM app.orders",
        "INSERT INTO app.items VALUES (0, 1)",
        "UPDATE app.orders SET note = ''",
        "DELETE FROM app.orders WHERE id = 0",
        "COPY app.orders TO '/dev/null'",
        "LOCK TABLE app.orders",
    ),
}

FORMS = tuple(form for group in GROUPS.values() for form in group)
