"""Waiting with an eye on the clock: no answer is awaited for ever."""

from __future__ import annotations

import psycopg
import pytest

from headwater.model import Target
from headwater.postgres import ticking
from headwater.postgres.connect import connect
from headwater.postgres.wire import send


def test_a_bookkeeper_does_not_wait_for_ever(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "ANSWER_S", 0.3)
    with connect(target, purpose="test", impatient=True) as connection:
        with pytest.raises(psycopg.OperationalError, match="the server gave no answer"):
            connection.execute("select pg_sleep(2)")
        assert connection.closed


def test_others_wait_for_as_long_as_it_takes(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "ANSWER_S", 0.1)
    with connect(target, purpose="test") as connection:
        assert connection.execute("select pg_sleep(0.5) is null").fetchone() == (False,)


def test_each_interval_that_brings_nothing_is_a_tick(target: Target) -> None:
    ticks: list[float] = []
    with connect(target, purpose="test") as connection:
        reply = send(connection, b"select pg_sleep(0.55); select 2", tick=ticks.append)
    assert reply.succeeded == 2
    assert len(ticks) >= 3
    assert ticks == sorted(ticks)


def test_what_a_tick_raises_ends_the_wait(target: Target) -> None:
    def lost(_: float) -> None:
        raise psycopg.OperationalError("nobody is there")

    with connect(target, purpose="test") as connection:
        reply = send(connection, b"select pg_sleep(5)", tick=lost)
        assert reply.lost
        assert str(reply.error) == "nobody is there"
