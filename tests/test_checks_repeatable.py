"""What a file makes outside every schema must bear a second run."""

from __future__ import annotations

import pytest

from headwater.checks.repeatable import not_repeatable
from tests.support import accepted_text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("create extension hstore", "extension hstore"),
        ("create publication p", "publication p"),
        ("create role r", "role r"),
        ("create event trigger e on ddl_command_end execute function f()", "event trigger e"),
        ("create foreign data wrapper w", "foreign-data wrapper w"),
        ("create server s foreign data wrapper w", "server s"),
        ("drop publication if exists other; create publication p", "publication p"),
        ("create publication p; drop publication if exists p", "publication p"),
        ("drop publication p; create publication p", "publication p"),
    ],
)
def test_what_would_fail_the_next_time_is_found(text: str, told: str) -> None:
    [finding] = not_repeatable(accepted_text(f"select 1;\n{text}"))
    assert finding.message.startswith(f"{told}: ")
    assert finding.line == 2


@pytest.mark.parametrize(
    "text",
    [
        "create extension if not exists hstore",
        "create server if not exists s foreign data wrapper w",
        "drop publication if exists p; create publication p",
        "drop role if exists q, r; create role r",
        "do $$ begin create role r; exception when duplicate_object then null; end $$",
        "create schema app; create table app.t (i int)",
    ],
)
def test_what_bears_a_second_run_is_not(text: str) -> None:
    assert not_repeatable(accepted_text(text)) == ()
