"""The server splits a text as the grammar does: nothing is silently not run, or run in two."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import pq

from headwater.files.grammar import NotParsed, parse
from headwater.files.read import read_folder
from headwater.files.text import normalise
from headwater.model import Target
from headwater.postgres.connect import Connection, connect, pin
from headwater.postgres.wire import send
from tests.test_files_grammar import BLANK, STATEMENT

ROOT = Path(__file__).parent.parent

CORPUS = sorted(
    path
    for folder in ("migrations", "tests/files", "tests/museum", "tests/schema_portable")
    for path in (ROOT / folder).glob("**/*.sql")
    if path.is_file()
)

busy = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def failed(target: Target) -> Generator[Connection]:
    """A session inside a transaction that has failed: it looks at texts, and runs nothing."""
    with connect(target, purpose="test") as connection:
        pin(connection, lock_timeout_ms=500)
        assert send(connection, b"BEGIN").error is None
        assert send(connection, b"SELECT 1/0").error is not None
        yield connection


def statements_in(connection: Connection, text: str) -> int:
    """Give how many statements the server finds in a text: 0, 1, or 2 for more than that.

    It is asked to prepare the text, which it parses before it says that the transaction has failed
    (src/backend/tcop/postgres.c, exec_parse_message): more than one statement is an error of its
    own, and none at all is no error.
    """
    result = connection.pgconn.prepare(b"", text.encode())
    if result.status == pq.ExecStatus.COMMAND_OK:
        return 0
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    message = result.error_message.decode()
    if state == b"25P02":
        return 1
    assert "multiple commands" in message, f"{message}: {text}"
    return 2


def require_alike(connection: Connection, text: str) -> int:
    """Require that the server finds one statement where the grammar does, and none between."""
    position, statements = 0, parse(text).statements
    for statement in statements:
        assert statements_in(connection, text[position : statement.start]) == 0
        assert statements_in(connection, statement.text) == 1
        position = statement.end
    assert statements_in(connection, text[position:]) == 0
    return len(statements)


def sent(path: Path) -> str:
    """Give the text of a file that could be sent, else nothing.

    Transaction control, which migrate refuses, is let through in a failed transaction.
    """
    text = normalise(path.read_bytes(), path.name)
    try:
        statements = parse(text).statements if isinstance(text, str) else ()
    except NotParsed:
        return ""
    if not isinstance(text, str) or any(s.kind == "transaction_stmt" for s in statements):
        return ""
    return text


def test_the_server_is_asked_in_a_way_that_tells_none_one_and_many(failed: Connection) -> None:
    counted = [
        statements_in(failed, text)
        for text in ("", " ;; -- a\n/* b; */;", "select 1;", "select 1;;", "select 1; select 2")
    ]
    assert counted == [0, 0, 1, 1, 2]


def test_the_server_splits_every_file_of_ours_as_the_grammar_does(failed: Connection) -> None:
    texts = [text for path in CORPUS if (text := sent(path))]
    alike = statements = 0
    for text in texts:
        statements += require_alike(failed, text)
        alike += 1
    print(f"\nfiles that are split alike: {alike} of {len(texts)} ({statements} statements)")
    assert alike == len(texts) >= 250


@busy
@given(st.lists(st.tuples(BLANK, STATEMENT), max_size=4), BLANK)
def test_the_server_splits_a_generated_text_as_the_grammar_does(
    failed: Connection, parts: list[tuple[str, str]], tail: str
) -> None:
    text = "".join(f"{blank}{statement};" for blank, statement in parts) + tail
    assert require_alike(failed, text) == len(parts)


def test_the_server_answers_each_statement_of_the_reference_schema(target: Target) -> None:
    migrations = read_folder(ROOT / "migrations").migrations
    alike = 0
    with connect(target, purpose="test") as connection:
        pin(connection, lock_timeout_ms=500)
        for migration in migrations:
            reply = send(connection, migration.text.encode())
            assert reply.error is None
            assert reply.succeeded == len(parse(migration.text).statements)
            alike += 1
    print(f"\nmigrations with an answer for each statement: {alike} of {len(migrations)}")
    assert alike == len(migrations) > 0
