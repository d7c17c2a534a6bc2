"""psql on the target: nothing secret in its arguments, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import conninfo

from headwater.errors import TargetError
from headwater.model import Target
from headwater.postgres.connect import target_of
from headwater.postgres.psql import run_psql
from headwater.settings import DatabaseChoice
from tests.conftest import ROOT
from tests.support import until

SECRETS = {"password": "pass word's", "sslpassword": "key-secret"}

STUB = """\
#!/bin/sh
exec > {told} 2>&1
echo "arguments: $*"
env | sed 's/^/env: /'
stat -c 'mode: %a' "$PGSERVICEFILE"
echo "file: $PGSERVICEFILE"
cat "$PGSERVICEFILE"
"""


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of libpq's, and temporary files in a folder that can be looked at."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """A psql on PATH that only tells how it was called; give what it told."""
    path = tmp_path / "bin/psql"
    path.parent.mkdir()
    path.write_text(STUB.format(told=tmp_path / "told"))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return (tmp_path / "told").read_text


def a_target(**more: str) -> Target:
    known = {"host": "h.example", "dbname": "app", "user": "me"} | more
    return target_of(DatabaseChoice(source="test", url=conninfo.make_conninfo(**known)))


def lines_of(told: str, start: str) -> str:
    return "\n".join(line for line in told.splitlines() if line.startswith(start))


def service_of(told: str) -> set[str]:
    return set(told.partition("[headwater]\n")[2].splitlines())


def test_no_secret_is_an_argument_or_in_the_environment(
    told: Callable[[], str], tmp_path: Path
) -> None:
    assert run_psql(a_target(**SECRETS), "select 1") == 0
    assert lines_of(told(), "arguments:") == (
        "arguments: -d service=headwater -X -v ON_ERROR_STOP=1 -c select 1"
    )
    for secret in SECRETS.values():
        assert secret not in lines_of(told(), "env:")
    expected = {f"{name}={value}" for name, value in SECRETS.items()}
    assert expected | {"host=h.example", "dbname=app"} <= service_of(told())


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_file_is_ours_alone_and_goes(
    told: Callable[[], str], tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        run_psql(a_target(**SECRETS))
    finally:
        os.umask(before)
    assert lines_of(told(), "mode:") == "mode: 600"
    assert str(tmp_path / "temporary") in lines_of(told(), "file:")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_variables_that_contradict_the_target_do_not_reach_psql(
    told: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPASSWORD", "PGUSER", "PGDATABASE", "PGSERVICEFILE"):
        monkeypatch.setenv(name, "other-secret")
    monkeypatch.setenv("PGSSLMODE", "require")
    run_psql(a_target(password="mine"))
    environment = lines_of(told(), "env: PG")
    assert environment.startswith("env: PGSERVICEFILE=")
    assert "\n" not in environment
    assert "other-secret" not in told()
    # What the target leaves open, libpq's variables say to psql as they do to us.
    assert {"sslmode=require", "password=mine", "host=h.example"} <= service_of(told())


def test_what_a_service_says_reaches_psql(
    told: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.write_text("[prod]\nhost=prod.example\nport=6000\npassword=of the service\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    target = target_of(DatabaseChoice(source="test", url="service=prod port=7000"))
    run_psql(target)
    found = service_of(told())
    assert {"host=prod.example", "port=7000", "password=of the service"} <= found
    assert not any(line.startswith("service") for line in found)
    assert "of the service" not in lines_of(told(), "env:")
    with pytest.raises(TargetError, match="'gone' is not defined"):
        run_psql(target_of(DatabaseChoice(source="test", url="service=gone")))


@pytest.mark.parametrize("password", ["ends in a blank ", "x" * 2000])
def test_a_password_that_no_line_can_hold_goes_by_the_environment(
    told: Callable[[], str], password: str
) -> None:
    run_psql(a_target(password=password))
    assert f"env: PGPASSWORD={password}" in told().splitlines()
    assert password not in lines_of(told(), "arguments:")


def test_a_line_cannot_add_another_parameter(told: Callable[[], str]) -> None:
    run_psql(a_target(password="x\nhost=evil.example"))
    assert "host=evil.example" not in service_of(told())
    with pytest.raises(TargetError, match="sslpassword") as caught:
        run_psql(a_target(sslpassword="x\nhost=evil.example"))
    assert "evil" not in str(caught.value)


def test_psql_really_connects(server: Target) -> None:
    """To the private server, with the psql that comes with it, or to TEST_DATABASE_URL."""
    assert run_psql(server, "select 1") == 0
    assert run_psql(server, "selec 1") == 1


def test_the_private_server_must_know_the_password_here_too(
    told: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """psql as well must not give the password to a stranger on our port."""
    stub = Path(os.environ["PATH"].partition(":")[0]) / "psql"
    monkeypatch.setattr(
        "headwater.postgres.psql._own_psql", lambda environment: (str(stub), environment)
    )
    monkeypatch.setenv("PGOPTIONS", "-c search_path=other")
    run_psql(replace(a_target(require_auth="scram-sha-256"), private=True))
    assert "require_auth=scram-sha-256" in service_of(told())
    assert "search_path" not in told()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_psql_and_leaves_no_file(
    told: Callable[[], str], tmp_path: Path, sent: signal.Signals
) -> None:
    stub = tmp_path / "bin/psql"
    started = tmp_path / "started"
    stub.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 60\n")
    program = (
        "import sys, tempfile; from tests.test_postgres_psql import a_target, run_psql;"
        f"tempfile.tempdir = {str(tmp_path / 'temporary')!r};"
        "sys.exit(run_psql(a_target(password='x')))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        until(lambda: started.exists() and started.read_text().strip())
        assert list((tmp_path / "temporary").iterdir())
        process.send_signal(sent)
        assert process.wait(timeout=10) == 128 + sent
    finally:
        process.kill()
        process.wait()
    assert list((tmp_path / "temporary").iterdir()) == []
    until(lambda: not Path(f"/proc/{started.read_text().strip()}").exists())
