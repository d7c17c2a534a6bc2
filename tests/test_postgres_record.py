"""The record: written in full whatever the file did to its session, and judged."""

from __future__ import annotations

import pytest

from headwater.errors import MigrationFailed
from headwater.model import How, Target
from headwater.postgres.connect import connect
from headwater.postgres.record import Judged, is_replaced, judge, record
from headwater.postgres.wire import send
from headwater.settings import Settings
from tests.support import accepted_text, migrated, query, recorded

INIT = {"0000_init.sql": "create schema app;"}


def judged(target: Target, settings: Settings, before: str) -> Judged:
    """Record a migration in a transaction of its own, and give what the server says of it."""
    with connect(target, purpose="test") as connection:
        migration = accepted_text("select 1").migration
        message = record(
            settings,
            migration,
            tokens="tok-1:x",
            out_of_order=True,
            duration=b"1 + 1",
            how=How.MARKED,
        )
        reply = send(connection, before.encode() + b";" + message)
        if reply.error is not None:
            assert is_replaced(reply.error)
            return Judged(kept=False, same_transaction=True, transaction=0)
        found = judge(connection, settings, migration.version, reply, -1)
        assert send(connection, b"COMMIT").error is None
        return found


def test_a_record_holds_what_it_is_given_and_is_judged(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    found = judged(target, settings, "BEGIN DEFERRABLE")
    assert (found.kept, found.same_transaction) == (True, True)
    assert query(target, f"select pg_xact_status('{found.transaction}')") == [("committed",)]
    assert query(
        target,
        "select tokens, duration_ms, out_of_order, how, applied_by = current_user "
        "from schema_migrations where version = '0001_a'",
    ) == [("tok-1:x", 2, True, "marked", True)]


def test_another_transaction_is_told_by_what_it_lacks(target: Target, settings: Settings) -> None:
    migrated(target, settings, INIT)
    assert not judged(target, settings, "BEGIN").same_transaction


@pytest.mark.parametrize(
    "taken",
    [
        "create rule r as on insert to schema_migrations do instead nothing",
        # It keeps this one, and could take away the next.
        "create rule r as on delete to schema_migrations do instead nothing",
        (
            "create function f() returns trigger language plpgsql as 'begin return new; end';"
            "create trigger t before insert on schema_migrations for each row execute function f()"
        ),
        (
            "alter table schema_migrations rename to theirs;"
            "create view schema_migrations as select * from theirs"
        ),
    ],
    ids=["rule", "rule on delete", "trigger", "view"],
)
def test_a_record_in_no_plain_table_is_not_kept(
    target: Target, settings: Settings, taken: str
) -> None:
    migrated(target, settings, INIT)
    assert not judged(target, settings, f"BEGIN DEFERRABLE; {taken}").kept


@pytest.mark.parametrize(
    "gone",
    [
        (
            "create rule r as on insert to schema_migrations do instead nothing;"
            "drop rule r on schema_migrations"
        ),
        (
            "create function f() returns trigger language plpgsql as 'begin return new; end';"
            "create trigger t before insert on schema_migrations "
            "for each row execute function f(); drop trigger t on schema_migrations"
        ),
    ],
    ids=["rule", "trigger"],
)
def test_a_table_that_once_had_a_rule_or_a_trigger_keeps_its_records(
    target: Target, settings: Settings, gone: str
) -> None:
    migrated(target, settings, INIT)
    query(target, gone)
    flags = "select relhasrules or relhastriggers from pg_class where relname = 'schema_migrations'"
    assert query(target, flags) == [(True,)]
    assert migrated(target, settings, INIT | {"0002_next.sql": "create table app.t ();"})


@pytest.mark.parametrize("by", ["set role pg_monitor", "set session authorization pg_monitor"])
def test_a_file_that_becomes_somebody_else_is_recorded_by_us(
    target: Target, settings: Settings, by: str
) -> None:
    files = INIT | {"0001_becomes.sql": f"{by};"}
    assert migrated(target, settings, files) == ["0000_init", "0001_becomes"]
    assert query(target, "select distinct applied_by = current_user from schema_migrations") == [
        (True,)
    ]


# A row that is gone before it is committed.
TAKES_AWAY = (
    "create function app.gone() returns trigger language plpgsql as "
    "'begin delete from public.schema_migrations where version = new.version; return null; end';"
)
TRIGGER = (
    "create trigger gone after insert on public.schema_migrations "
    "for each row execute function app.gone()"
)


def test_an_operator_of_a_file_does_not_stand_in_for_one_of_the_servers(
    target: Target, settings: Settings
) -> None:
    # An exact match wins over one that needs a cast: this one finds another table, a plain one.
    capture = (
        "create table app.innocent ();"
        "create function app.other(oid, regclass) returns boolean language sql "
        "return $1 operator(pg_catalog.=) 'app.innocent'::regclass::oid;"
        "create operator app.= (leftarg = oid, rightarg = regclass, function = app.other);"
        f"{TAKES_AWAY}{TRIGGER};set search_path = app, pg_catalog;"
    )
    with pytest.raises(MigrationFailed, match="did not keep the record"):
        migrated(target, settings, INIT | {"0001_captures.sql": capture})
    assert recorded(target, settings) == ["0000_init"]


@pytest.mark.parametrize(
    ("before", "file"),
    [
        pytest.param("select 1", f"{TAKES_AWAY}{TRIGGER};", id="itself"),
        pytest.param(
            f"{TAKES_AWAY}create function app.take() returns void language plpgsql as $$begin "
            f"{TRIGGER}; end$$;",
            "select app.take();",
            id="by a function",
        ),
        pytest.param(
            "create function app.gone() returns trigger language plpgsql as $$begin execute "
            "'delete from public.schema_mi' || 'grations where version = $1' using new.version; "
            "return null; end$$;"
            "create function app.take() returns void language plpgsql as $$begin execute "
            "'create trigger gone after insert on public.schema_mi' || 'grations "
            "for each row execute function app.gone()'; end$$;",
            "select app.take();",
            id="by dynamic SQL",
        ),
        pytest.param(
            "create function app.gone() returns trigger language plpgsql as $$begin execute("
            "format('delete from %s where version = %L', tg_relid::regclass, new.version)); "
            "return null; end$$;",
            "do $$declare t regclass; begin for t in select oid from pg_class where relname ~ "
            "'^schema_mig.*ns$' loop execute(format('create trigger gone after insert on %s "
            "for each row execute function app.gone()', t)); end loop; end$$;",
            id="by a loop",
        ),
    ],
)
def test_a_later_file_that_takes_its_own_record_away_is_rolled_back(
    target: Target, settings: Settings, before: str, file: str
) -> None:
    query(target, "create schema app")
    query(target, before)
    files = {f"000{n}_plain{n}.sql": f"create table app.t{n} ();" for n in range(3)}
    with pytest.raises(MigrationFailed, match="did not keep the record") as caught:
        migrated(target, settings, files | {"0004_takes.sql": file})
    assert caught.value.message.startswith("0004_takes.sql")
    assert recorded(target, settings) == ["0000_plain0", "0001_plain1", "0002_plain2"]
