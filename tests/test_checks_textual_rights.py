"""What the text of a statement says about sessions, rights and secrets."""

from __future__ import annotations

import pytest

from headwater.checks.textual import read_text
from tests.test_checks_textual import NO_TRANSACTION, accepted, found, rules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set search_path = app", ["setting-left"]),
        ("set role x", ["setting-left"]),
        ("set session authorization x", ["setting-left"]),
        ("set session characteristics as transaction isolation level serializable", 1),
        ("select pg_catalog.set_config('a.b', 'c', false)", ["setting-left"]),
        ("reset search_path; set search_path = app", ["setting-left"]),
        ("grant select on app.t to x, public", ["grant-to-public"]),
        ("alter default privileges grant execute on functions to public", ["grant-to-public"]),
        ("create user mapping for x server s options (password 'b')", ["password-literal"]),
        ("alter role x password 'md5abc'", ["password-literal"]),
        ("alter subscription s connection 'host=a password=b'", ["password-literal"]),
        ("alter subscription s connection 'postgresql://u:secret@host/d'", ["password-literal"]),
        (
            "create policy p on app.t using (a = current_setting('x', false))",
            ["policy-setting-missing-ok", "policy-setting-per-row"],
        ),
        (
            "alter policy p on app.t with check (a = current_setting('x', true))",
            ["policy-setting-per-row"],
        ),
    ],
)
def test_a_hazard_is_found(text: str, expected: list[str] | int) -> None:
    assert rules(text) == (expected if isinstance(expected, list) else ["setting-left"])


@pytest.mark.parametrize(
    "text",
    [
        "set local search_path = app",
        "set role x; create table app.n (a bigint); reset role",
        "set search_path = app; reset all",
        "set search_path = app; set search_path to default",
        "select set_config('a.b', 'c', true)",
        f"{NO_TRANSACTION}set search_path = app",
        "revoke all on app.t from public",
        "alter role x password 'SCRAM-SHA-256$4096:a$b:c'",
        "alter role x password null",
        "alter subscription s connection 'host=a'",
        "create policy p on app.t using (a = (select current_setting('x', true)))",
        "select current_setting('x')",
    ],
)
def test_what_is_no_hazard_is_not_found(text: str) -> None:
    assert rules(text) == []


DEFINER = "create function app.f() returns bigint language sql security definer"


def test_a_definer_has_a_path_in_its_statement_or_below_it() -> None:
    assert found(f"{DEFINER} as 'select 1'") == [("security-definer-search-path", 1, 53)]
    assert rules(f"{DEFINER} set search_path from current as 'select 1'") == []
    assert rules(f"{DEFINER} as 'select 1'; alter function app.f() set search_path = ''") == []
    assert rules(f"{DEFINER} as 'select 1'; alter function app.g() set search_path = ''") == [
        "security-definer-search-path"
    ]
    assert rules(f"{DEFINER} set work_mem = '1MB' as 'select 1'") == [
        "security-definer-search-path"
    ]
    assert rules(f"{DEFINER} return 1") == []


def test_a_password_is_shown_nowhere() -> None:
    for text in ("create role x password 's3cret'", "alter role x\n  password 's3cret'"):
        read = read_text(accepted(text))
        assert "password-literal" in [finding.rule for finding in read.findings]
        assert "s3cret" not in repr(read)
