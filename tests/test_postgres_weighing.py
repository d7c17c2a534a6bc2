"""Weights: how much there is of the tables of a target."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import conninfo

from headwater.errors import LockBusy
from headwater.model import Target
from headwater.postgres.connect import connect, target_of
from headwater.postgres.weighing import read_weights
from headwater.settings import DatabaseChoice
from headwater.verdicts import Weights
from tests.clusters import cluster, standby
from tests.support import query, until, value

# Autovacuum may come at any moment: it adds a map to a table that it vacuums, and counts its rows.
SCHEMA = """
create schema app;
create schema other;
create table other.left_out (id bigint);
create table app.big (id bigint primary key, note text) with (autovacuum_enabled = off);
insert into app.big select n, repeat('x', 50) from generate_series(1, 5000) n;
update app.big set note = 'y' where id <= 100;
delete from app.big where id <= 10;
create table app.wide (id bigint, body text)
    with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
alter table app.wide alter body set storage external;
insert into app.wide select n, repeat('x', 10000) from generate_series(1, 20) n;
create table app.parts (n integer) partition by range (n);
create table app.low partition of app.parts for values from (0) to (10) partition by list (n);
create table app.low_1 partition of app.low for values in (1) with (autovacuum_enabled = off);
create table app.high partition of app.parts for values from (10) to (100)
    with (autovacuum_enabled = off);
insert into app.parts select 1 from generate_series(1, 40);
insert into app.parts select 50 from generate_series(1, 60);
create index on app.parts (n);
create materialized view app.seen with (autovacuum_enabled = off) as select * from app.big;
create view app.no_table as select 1;
create table app."Odd ""Name" (id bigint);
analyze;
create table app.never (id bigint) with (autovacuum_enabled = off);
insert into app.never select generate_series(1, 1000);
"""


def weighed(target: Target) -> Weights:
    with connect(target, purpose="test", impatient=True) as connection:
        return read_weights(connection, ("app",))


def ready(target: Target) -> Target:
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
        # A session tells what it has counted when it is idle; with this, of its next statement on.
        connection.execute("select pg_stat_force_next_flush()")
        connection.execute("select 1")
    return target


def test_tables_are_weighed_by_rows_bytes_and_writes(versioned: Target) -> None:
    weights = weighed(ready(versioned))
    major = value(versioned, "select current_setting('server_version_num')::int / 10000")
    assert weights.version == major
    assert weights.source.startswith(versioned.database)
    assert list(weights.tables) == [
        'app."Odd ""Name"',
        "app.big",
        "app.high",
        "app.low",
        "app.low_1",
        "app.never",
        "app.parts",
        "app.seen",
        "app.wide",
    ]
    big, wide = weights.tables["app.big"], weights.tables["app.wide"]
    assert (big.rows, big.estimated) == (4990, False)
    assert big.writes == 5000 + 100 + 10
    [sizes] = query(versioned, "select pg_table_size('app.big'), pg_indexes_size('app.big')")
    assert (big.heap_bytes, big.index_bytes) == sizes
    assert wide.heap_bytes > 20 * 10_000, "what is beside the table counts as well"
    assert weights.tables["app.seen"].rows == 4990


def test_a_partitioned_table_weighs_what_its_leaves_weigh(target: Target) -> None:
    tables = weighed(ready(target)).tables
    whole, high, low = tables["app.parts"], tables["app.high"], tables["app.low_1"]
    assert (high.rows, low.rows, whole.rows) == (60, 40, 100)
    assert tables["app.low"] == low
    assert whole.heap_bytes == high.heap_bytes + low.heap_bytes
    assert whole.index_bytes == high.index_bytes + low.index_bytes > 0
    assert whole.writes == 100


def test_rows_of_a_table_that_was_never_analysed_are_estimated_and_that_is_said(
    target: Target,
) -> None:
    never = weighed(ready(target)).tables["app.never"]
    assert never.estimated
    assert never.rows == 1_000
    # Without statistics, as on a standby, the size alone tells.
    query(target, "select pg_stat_reset_single_table_counters('app.never'::regclass)")
    until(lambda: weighed(target).tables["app.never"].rows != 1_000)
    guessed = weighed(target).tables["app.never"]
    assert guessed.rows == guessed.heap_bytes // 100 > 0


def test_how_long_writes_were_counted_is_known_after_a_reset(target: Target) -> None:
    assert weighed(ready(target)).counted_s is None
    query(target, "select pg_stat_reset()")
    until(lambda: weighed(target).counted_s is not None)
    assert 0 <= (weighed(target).counted_s or -1) < 60


@contextmanager
def low_role(target: Target) -> Generator[Target]:
    role = f"low_in_{target.database}"
    query(target, f"create role {role} login password 'low'")
    url = conninfo.make_conninfo(target.conninfo, user=role, password="low")
    try:
        yield target_of(DatabaseChoice(source="test", url=url))
    finally:
        query(target, f"drop role {role}")


def test_a_role_without_any_right_weighs_the_same(target: Target) -> None:
    everything = weighed(ready(target))
    with low_role(target) as low:
        assert weighed(low).tables == everything.tables


def test_what_somebody_puts_ahead_in_search_path_is_not_asked(target: Target) -> None:
    ready(target)
    before = weighed(target)
    query(
        target,
        "create schema evil; create table evil.pg_class (oid oid); "
        "create function evil.never(name, text) returns boolean language sql as 'select false';"
        "create operator evil.= (leftarg = name, rightarg = text, function = evil.never);"
        f"alter database {target.database} set search_path = evil, pg_catalog",
    )
    assert weighed(target).tables == before.tables


def test_a_table_that_somebody_locks_is_said_to_be_locked(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.postgres.weighing._PATIENCE_MS", 100)
    ready(target)
    with psycopg.connect(target.conninfo) as somebody:
        somebody.execute("lock table app.big in access exclusive mode")
        with pytest.raises(LockBusy, match="weighing the tables"):
            weighed(target)


def test_a_standby_is_weighed() -> None:
    with cluster() as primary, standby(primary) as follower:
        primary.sql("create schema app", "create table app.t as select 1 as n", "analyze app.t")
        follower.start()
        until(lambda: "app.t" in weighed(follower.target()).tables, "the table on the standby")
        assert weighed(follower.target()).tables["app.t"].rows == 1
        assert weighed(follower.target()).counted_s is None
