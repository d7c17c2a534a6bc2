"""Trying again: while a lock is not to be had, and never without end."""

from __future__ import annotations

import psycopg
import pytest

from headwater.errors import LockBusy
from headwater.postgres.patience import Patience, patiently

THREE = Patience(attempts=3, first_pause_s=0.001, longest_pause_s=0.002)


def tried(errors: list[Exception], said: list[str]) -> int:
    """Try what fails by each of the errors, then succeeds; say how often it was tried."""
    tries: list[int] = []

    def action() -> int:
        tries.append(1)
        if len(tries) <= len(errors):
            raise errors[len(tries) - 1]
        return len(tries)

    return patiently(
        action,
        THREE,
        blockers=lambda: "process 7",
        tell=said.append,
        give_up=lambda attempts: LockBusy(f"{attempts} times"),
    )


def test_it_is_tried_again_and_who_stands_in_the_way_is_told() -> None:
    said: list[str] = []
    errors = [psycopg.errors.LockNotAvailable("a"), psycopg.errors.DeadlockDetected("b")]
    assert tried(list(errors), said) == 3
    assert ["process 7" in each for each in said] == [True, True]
    assert "attempt 2 of 3" in said[0]


def test_it_is_not_tried_for_ever() -> None:
    said: list[str] = []
    with pytest.raises(LockBusy, match="3 times") as caught:
        tried([psycopg.errors.LockNotAvailable("a")] * 20, said)
    assert len(said) == 2
    assert "process 7" in caught.value.detail


def test_another_error_is_not_tried_again() -> None:
    said: list[str] = []
    with pytest.raises(psycopg.errors.UniqueViolation):
        tried([psycopg.errors.UniqueViolation("a")], said)
    assert said == []
