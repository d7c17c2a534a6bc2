"""The live layer as one: weights, what stands in the way now, and what the rows would refuse."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import product

import psycopg
import pytest

from headwater.checks.live import look_at_live
from headwater.checks.rules import EXAMPLE_SCHEMA, Rule
from headwater.checks.rules.live import LIVE, LONG_TRANSACTION
from headwater.files.accepted import Accepted
from headwater.model import Finding, Severity, Target
from headwater.outcomes import LockMode
from headwater.postgres.connect import Connection
from headwater.postgres.traffic import conflicts
from headwater.settings import Settings
from tests.conftest import disposable_on
from tests.support import accepted_text, query, session, until, value

every_rule = pytest.mark.parametrize("rule", LIVE, ids=lambda rule: rule.id)


@contextmanager
def set_up(server: Target, rule: Rule) -> Generator[Target]:
    with disposable_on(server) as target:
        query(target, EXAMPLE_SCHEMA + rule.setup)
        with reading(target) if rule is LONG_TRANSACTION else nullcontext():
            yield target


@contextmanager
def reading(target: Target, seconds: float = 0.1) -> Generator[None]:
    """Keep a transaction open that has read app.t, for longer than the lock timeout."""
    with session(target) as somebody:
        somebody.execute("select * from app.t")
        until(
            lambda: value(
                target,
                "select max(clock_timestamp() - xact_start) > "
                f"'{seconds} s' from pg_stat_activity where application_name = 'somebody else' "
                "and datname = current_database()",
            )
        )
        yield


def found(target: Target, text: str, settings: Settings) -> list[Finding]:
    patient = Settings(
        root=settings.root, migrations=settings.migrations, schemas=("app",), lock_timeout_ms=50
    )
    live = look_at_live(target, [accepted_text(text)], patient)
    assert live.notes == ()
    return list(live.findings)


@every_rule
def test_a_live_rule_finds_its_bad_example_and_leaves_its_good_one_alone(
    server: Target, settings: Settings, rule: Rule
) -> None:
    with set_up(server, rule) as target:
        bad = [f for f in found(target, rule.bad, settings) if f.rule == rule.id]
        assert [(f.severity, f.line, f.layer, f.page) for f in bad] == [
            (rule.severity, 1, rule.layer, rule.page)
        ]
        assert all(f.relation and f.hint and f.why and f.end_line and f.source for f in bad)
        assert found(target, rule.good, settings) == []


@pytest.mark.parametrize(
    "rule", [r for r in LIVE if r.severity is Severity.ERROR], ids=lambda rule: rule.id
)
def test_the_bad_example_of_a_would_fail_rule_fails_and_the_good_one_does_not(
    server: Target, rule: Rule
) -> None:
    with set_up(server, rule) as target:
        with psycopg.connect(target.conninfo) as connection, pytest.raises(psycopg.Error) as caught:
            connection.execute(rule.bad.encode())
        assert (caught.value.diag.sqlstate or "")[:2] in ("22", "23")
        query(target, rule.good)


def test_a_transaction_is_told_of_with_who_it_is(server: Target, settings: Settings) -> None:
    with set_up(server, LONG_TRANSACTION) as target:
        [finding] = found(target, LONG_TRANSACTION.bad, settings)
        assert "app.t is locked (ACCESS SHARE) by process " in finding.message
        assert "(somebody else as postgres, idle in transaction)" in finding.message
        # A lock that does not wait for readers is none of its business; nor is a young transaction.
        assert found(target, "create index on app.t (b);", settings) == []
        with connecting(target) as young:
            young.execute("select * from app.u")
            patient = replace(settings, lock_timeout_ms=60_000)
            good = [accepted_text(LONG_TRANSACTION.good)]
            assert look_at_live(target, good, patient).findings == ()


@contextmanager
def connecting(target: Target) -> Generator[Connection]:
    with psycopg.connect(target.conninfo) as connection:
        yield connection


def test_sequences_are_measured_by_what_their_columns_hold(
    target: Target, settings: Settings
) -> None:
    query(
        target,
        "create schema app; create table app.t (a serial, b smallserial, c bigserial, d serial, "
        "e serial); "
        # What is not called yet, has far to go, or begins again.
        "select setval('app.t_a_seq', 1503238553), setval('app.t_b_seq', 30000), "
        "setval('app.t_c_seq', 3000000000), setval('app.t_d_seq', 1503238552);"
        "alter sequence app.t_e_seq cycle; select setval('app.t_e_seq', 2147483646);",
    )
    messages = [f.message for f in found(target, "alter table app.t add x text;", settings)]
    assert messages == [
        "70 percent of app.t_a_seq are used, for app.t.a",
        "92 percent of app.t_b_seq are used, for app.t.b",
    ]


def test_the_index_of_a_partitioned_table_is_not_taken_for_a_failed_one(
    target: Target, settings: Settings
) -> None:
    query(
        target,
        "create schema app; create table app.p (a int) partition by list (a);"
        "create table app.p1 partition of app.p for values in (1); create index on only app.p (a);",
    )
    assert (
        value(target, "select indisvalid from pg_index where indrelid = 'app.p'::regclass") is False
    )
    assert found(target, "alter table app.p add x text;", settings) == []


def test_everything_comes_with_the_weights_and_from_readers_alone(
    target: Target, settings: Settings
) -> None:
    query(target, EXAMPLE_SCHEMA)
    query(target, f"alter database {target.database} set default_transaction_read_only = on")
    live = look_at_live(
        target, [accepted_text("alter table app.t add constraint x unique (b);")], settings
    )
    assert (live.findings, live.notes) == ((), ())
    assert live.weights
    assert {"app.t", "app.u"} == live.weights.tables.keys()


def test_nothing_pending_is_weighed_and_nothing_asked(target: Target, settings: Settings) -> None:
    query(target, EXAMPLE_SCHEMA)
    live = look_at_live(target, list[Accepted](), settings)
    assert live.weights
    assert (live.findings, live.notes, len(live.weights.tables)) == ((), (), 2)


def test_a_locked_table_is_a_note_and_the_rest_is_asked(target: Target, settings: Settings) -> None:
    query(target, EXAMPLE_SCHEMA)
    accepted = [accepted_text("alter table app.t add constraint x check (b > 5);")]
    with psycopg.connect(target.conninfo) as other:
        other.execute("lock table app.u in access exclusive mode")
        live = look_at_live(target, accepted, settings)
    assert live.weights is None
    assert live.notes[0].startswith("the sizes of the tables are not known: ")
    assert [finding.rule for finding in live.findings] == ["would-fail-check"]


def test_locks_wait_for_each_other_as_the_server_says(target: Target) -> None:
    query(target, "create table t ()")
    with connecting(target) as one, connecting(target) as two:
        two.execute("set lock_timeout = '20ms'")
        two.commit()
        for held, wanted in product(LockMode, LockMode):
            one.execute(f"lock table t in {held} mode".encode())
            try:
                two.execute(f"lock table t in {wanted} mode".encode())
                waits = False
            except psycopg.errors.LockNotAvailable:
                waits = True
            two.rollback()
            one.rollback()
            assert conflicts(wanted, held) == waits, f"{wanted} behind {held}"
