"""Waiting for a server: what passes is waited for, what does not is told at once."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from psycopg import conninfo

from headwater.errors import SettingsError, Unreachable
from headwater.model import Event, Said, Target
from headwater.postgres.waiting import wait_for
from tests.support import query, value


def with_parameters(target: Target, **parameters: str | int) -> Target:
    text = conninfo.make_conninfo(target.conninfo, **parameters)
    return replace(target, conninfo=text)


# A process of its own: libpq's ping holds the interpreter that would have to answer it.
_SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(bytes.fromhex(sys.argv[1]))
"""


@contextmanager
def server_that_says(message: bytes, code: bytes) -> Generator[int]:
    """Listen where every connection gets one FATAL error of PostgreSQL; give the port."""
    fields = b"SFATAL\0VFATAL\0C" + code + b"\0M" + message + b"\0\0"
    answer = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
    command = [sys.executable, "-c", _SERVER, answer.hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_a_server_that_answers_is_not_waited_for(target: Target) -> None:
    events = list[Event]()
    answered = wait_for(target, "10s", notify=events.append)
    assert answered.server_version == value(target, "show server_version")
    assert answered.waited_ms < 5_000
    assert events == []


def test_a_server_that_comes_is_waited_for_and_told_of_once(target: Target) -> None:
    """The port is taken by a proxy to the real server, a while later."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    later = with_parameters(target, port=port, sslmode="disable", gssencmode="disable")
    events = list[Event]()
    begun = threading.Timer(1.0, forward_one, args=(port, target))
    begun.start()
    answered = wait_for(later, "20s", notify=events.append)
    begun.join()
    assert answered.waited_ms >= 900
    assert [type(event) for event in events] == [Said]
    assert isinstance(events[0], Said)
    assert events[0].message.startswith("waiting up to 20s for ")


def forward_one(port: int, target: Target) -> None:
    """Hand the bytes of one connection on to the server, and back."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(10)
        client, _ = listener.accept()
        with client, socket.create_connection((target.host, int(target.port))) as server:
            back = threading.Thread(target=pour, args=(server, client))
            back.start()
            pour(client, server)
            back.join()


def pour(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65_536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"the database system is starting up", b"57P03"),
        (b"the database system is not yet accepting connections", b"57P03"),
        (b"the database system is in recovery mode", b"57P03"),
        (b"the database system is shutting down", b"57P03"),
        (b"sorry, too many clients already", b"53300"),
        (b"remaining connection slots are reserved for roles with the SUPERUSER", b"53300"),
        (b'too many connections for role "app"', b"53300"),
        (b"Das Datenbanksystem startet", b"57P03"),
    ],
)
def test_what_passes_is_waited_for_until_the_time_is_up(
    target: Target, message: bytes, code: bytes
) -> None:
    with server_that_says(message, code) as port:
        busy = with_parameters(target, port=port, sslmode="disable", gssencmode="disable")
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer within 400ms") as caught:
            wait_for(busy, "400ms")
    assert time.monotonic() - begun >= 0.4
    assert message.decode() in caught.value.detail
    assert (caught.value.exit_code, caught.value.code) == (2, "unreachable")
    assert caught.value.hint
    assert caught.value.hint.partition("--timeout")[1] or "invoke wait" not in caught.value.hint


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b'password authentication failed for user "app"', b"28P01"),
        (b'no pg_hba.conf entry for host "10.0.0.1", user "app"', b"28000"),
        (b'role "app" is not permitted to log in', b"28000"),
        (b'permission denied for database "app"', b"42501"),
        (b'database "app" is not currently accepting connections', b"55000"),
        (b"no such database: app", b"08P01"),
    ],
)
def test_what_does_not_pass_is_told_at_once(target: Target, message: bytes, code: bytes) -> None:
    with server_that_says(message, code) as port:
        refusing = with_parameters(target, port=port, sslmode="disable", gssencmode="disable")
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="no connection to") as caught:
            wait_for(refusing, "30s")
    assert time.monotonic() - begun < 10
    assert message.decode() in caught.value.detail
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "parameters",
    [
        {"dbname": "headwater_missing"},
        {"password": "wrong"},
        {"user": "headwater_missing"},
        {"sslmode": "require"},
        {"sslmode": "nonsense"},
        {"connect_timeout": "soon"},
        {"sslmode": "verify-full", "sslrootcert": "/nowhere/root.crt"},
        {"host": "a..b"},
    ],
    ids=str,
)
def test_a_setting_of_ours_that_is_wrong_is_told_at_once(
    target: Target, parameters: dict[str, str]
) -> None:
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="no connection to"):
        wait_for(with_parameters(target, **parameters), "60s")
    assert time.monotonic() - begun < 20


def test_a_full_server_is_waited_for(target: Target) -> None:
    role = f"narrow_{target.database[-12:]}"
    query(target, f"create role {role} login password 'narrow' connection limit 0")
    try:
        narrow = with_parameters(target, user=role, password="narrow")
        with pytest.raises(Unreachable, match="did not answer") as caught:
            wait_for(narrow, "300ms")
        assert "too many connections" in caught.value.detail
    finally:
        query(target, f"drop role {role}")


def test_a_host_that_swallows_everything_does_not_outlast_the_time(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer within 1s"):
            wait_for(with_parameters(target, port=silent.getsockname()[1]), "1s")
    assert time.monotonic() - begun < 8


def test_a_time_that_is_none_is_refused(target: Target) -> None:
    with pytest.raises(SettingsError, match="--timeout: 'soon' is no duration"):
        wait_for(target, "soon")
