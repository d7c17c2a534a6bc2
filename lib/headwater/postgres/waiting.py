"""Waiting until a server answers: one that is starting, recovering, full, or not there yet.

Which refusals no waiting mends is told by PostgreSQL's words: before a session begins there is
nothing else to go by. One that nobody knows is waited for, and stands in the error when the time
is up.
"""

from __future__ import annotations

import re
import time
from contextlib import nullcontext
from dataclasses import replace

import psycopg
from psycopg import conninfo, pq

from headwater.errors import Unreachable
from headwater.model import Notify, Said, Target, ignore
from headwater.outcomes import Answered
from headwater.postgres.connect import (
    CONNECT_TIMEOUT_S,
    connect,
    libpq_variables_hidden,
    unreachable,
)
from headwater.settings import duration_of_flag

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0

# Refusals that no waiting mends: who we are, which database, how we are encrypted. (PostgreSQL's,
# PgBouncer's, and libpq's own words.)
_FINAL = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf"
    r"|(?:role|database) \".*\" does not exist|no such (?:database|user)"
    r"|not permitted to log in|permission denied for database"
    r"|not currently accepting connections"
    r"|does not support SSL|root certificate file|certificate verify failed"
    r"|server certificate for|invalid sslmode|unsupported (?:frontend protocol|startup parameter)",
    re.IGNORECASE,
)


def wait_for(target: Target, timeout: str, *, notify: Notify = ignore) -> Answered:
    """Try until the server answers a query, and give its version; a sentence once, if it must wait.

    Raises Unreachable at once when waiting cannot help (a wrong password, a database that is not
    there), and with the last reason when the time is up; SettingsError for a bad `timeout`.
    """
    limit_s = duration_of_flag("--timeout", timeout) / 1_000
    begun, pause, tries = time.monotonic(), _FIRST_PAUSE_S, 0
    while True:
        left_s = limit_s - (time.monotonic() - begun)
        try:
            version = _ask(target, left_s)
        except Unreachable as error:
            if not _may_pass(error) or (tries == 0 and not _is_usable(target)):
                raise
            left_s = limit_s - (time.monotonic() - begun)
            if left_s <= 0:
                raise Unreachable(
                    f"{target} did not answer within {timeout}",
                    detail=error.detail,
                    hint=_after_waiting(error.hint),
                ) from error
            if tries == 0:
                notify(Said(message=f"waiting up to {timeout} for {target}"))
            time.sleep(min(pause, left_s))
            tries, pause = tries + 1, min(pause * 1.5, _LONGEST_PAUSE_S)
        else:
            waited = round((time.monotonic() - begun) * 1_000)
            return Answered(target=target, server_version=version, waited_ms=waited)


def _ask(target: Target, left_s: float) -> str:
    """Connect and ask one query; what the server says of itself is its version."""
    with connect(_patient_for(target, left_s), purpose="wait") as connection:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            # Behind a pooler it is the first query that finds the server missing.
            raise unreachable(target, error) from error
        return connection.info.parameter_status("server_version") or ""


def _patient_for(target: Target, left_s: float) -> Target:
    """Give the target with a connect timeout that does not outlast ours (libpq's least is 2 s)."""
    given = str(conninfo.conninfo_to_dict(target.conninfo).get("connect_timeout") or "")
    if given and not given.isdecimal():
        return target  # no number: the driver says so
    seconds = max(2, min(int(given or 0) or CONNECT_TIMEOUT_S, int(left_s) + 1))
    return replace(
        target, conninfo=conninfo.make_conninfo(target.conninfo, connect_timeout=seconds)
    )


def _after_waiting(hint: str) -> str:
    """Give the hint of the last refusal, unless it is to wait: that was done."""
    return "wait longer, such as: invoke wait --timeout 5min" if "invoke wait" in hint else hint


def _may_pass(error: Unreachable) -> bool:
    """Say whether a refusal may pass by itself: not one that we ourselves have found."""
    cause = error.__cause__
    return isinstance(cause, psycopg.OperationalError) and not _FINAL.search(str(cause))


def _is_usable(target: Target) -> bool:
    """Ask libpq, in no language, whether it would try to connect with these settings at all."""
    with libpq_variables_hidden() if target.private else nullcontext():
        answer = pq.PGconn.ping(_patient_for(target, 0).conninfo.encode())
    return answer != pq.Ping.NO_ATTEMPT
