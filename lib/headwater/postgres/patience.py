"""Trying again what is all or nothing, while a lock is not to be had.

Never without end, and never with an unlimited last try: behind a waiting ALTER TABLE every plain
SELECT of the application queues as well.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from headwater.errors import LockBusy
from headwater.postgres.translate import facts

T = TypeVar("T")

# A lock that was not to be had, or two sessions that wait for each other: everything was rolled
# back, and is worth another try.
NO_LOCK = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often to try, and how long to pause: the pauses double, up to the longest."""

    attempts: int
    first_pause_s: float
    longest_pause_s: float


def patiently(
    action: Callable[[], T],
    patience: Patience,
    *,
    blockers: Callable[[], str],
    tell: Callable[[str], None],
    give_up: Callable[[int], LockBusy],
) -> T:
    """Do `action` until it gets its locks, telling before each new try who holds them.

    `blockers` names the sessions that hold locks, `give_up` makes the error of the last attempt.
    Pauses are jittered, so that two who wait for each other do not meet again.
    """
    attempt, pause = 1, patience.first_pause_s
    while True:
        try:
            return action()
        except NO_LOCK as error:
            held_by = blockers()
            if attempt == patience.attempts:
                busy = give_up(attempt)
                busy.detail = "\n".join(filter(None, [facts(error), held_by]))
                raise busy from error
            said = "\n".join(filter(None, [error.diag.message_primary, held_by]))
            tell(f"{said}; attempt {attempt + 1} of {patience.attempts} in {pause:.1f} s")
            time.sleep(pause * random.uniform(0.5, 1.0))
            attempt, pause = attempt + 1, min(pause * 2, patience.longest_pause_s)
