"""A shell on the target: psql, with nothing secret in anybody's process list.

psql is told everything by a service file of its own: password, sslpassword and what later versions
of libpq may know as secrets are in no argument and, but for values that no line can hold, in no
environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import quote, urlencode

from headwater.errors import TargetError
from headwater.model import Target
from headwater.postgres.connect import parameters

_SERVICE = "headwater"
# libpq reads a service file by lines of at most 1023 bytes.
_LONGEST_LINE = 1000


def url_of(target: Target) -> str:
    """Give the whole connection URL of a target, with the password: for scripts, on request."""
    known = {name: str(value) for name, value in parameters(target).items()}
    user, password = known.pop("user", ""), known.pop("password", "")
    host, port = known.pop("host", ""), known.pop("port", "")
    database = known.pop("dbname", "")
    # Only in libpq's hands: a program that reads the URL knows neither.
    known.pop("require_auth", None)
    secret = f":{quote(password, safe='')}" if password else ""
    login = f"{quote(user, safe='')}{secret}@" if user or secret else ""
    if "/" in host:
        known["host"], host = host, ""
    place = f"{host}:{port}" if port else host
    query = f"?{urlencode(known)}" if known else ""
    return f"postgresql://{login}{place}/{quote(database, safe='')}{query}"


def run_psql(target: Target, command: str = "") -> int:
    """Run psql on the target and give its exit code; `command` runs instead of a prompt.

    The private server's own psql serves it, the system's everything else.
    """
    known = _resolved(target)
    variables = _variables()
    environment = {
        name: value
        for name, value in os.environ.items()
        # psql gets what they say, where it counts, by the service file.
        if name not in (*variables.values(), "PGSERVICEFILE")
        and not (target.private and name.startswith("PG"))
    }
    lines, others = _by_line_or_variable(known, variables)
    environment |= others
    program = shutil.which("psql")
    if program is None or target.private:
        program, environment = _own_psql(environment) if target.private else _need_psql()
    arguments = [program, "-d", f"service={_SERVICE}"]
    if command:
        arguments += ["-X", "-v", "ON_ERROR_STOP=1", "-c", command]
    with _service_file(lines) as path:
        return _run(arguments, environment | {"PGSERVICEFILE": str(path)})


def _resolved(target: Target) -> dict[str, str]:
    """Give all parameters that libpq would use here: the target's own, a service's, variables'."""
    given = {name: str(value) for name, value in parameters(target).items()}
    if target.private:
        return given
    service = given.pop("service", "") or os.environ.get("PGSERVICE", "")
    if not service:
        return _defaults("") | given
    of_service = _defaults(service)
    if of_service == _defaults(""):
        raise TargetError(
            f"libpq's service {service!r} is not defined, or says nothing",
            hint="see PGSERVICEFILE, ~/.pg_service.conf",
        )
    return of_service | given


def _defaults(service: str) -> dict[str, str]:
    """Give what libpq adds to a connection by a service and by variables, and not by itself."""
    from psycopg.pq import Conninfo

    with _service_chosen(service):
        return {
            option.keyword.decode(): os.fsdecode(option.val)
            for option in Conninfo.get_defaults()
            if option.val
            and option.val != option.compiled
            and option.keyword not in (b"service", b"servicefile")
        }


@contextmanager
def _service_chosen(service: str) -> Generator[None]:
    """Let PGSERVICE name this service, or none, while libpq is asked; nothing else runs by then."""
    before = os.environ.pop("PGSERVICE", None)
    try:
        if service:
            os.environ["PGSERVICE"] = service
        yield
    finally:
        os.environ.pop("PGSERVICE", None)
        if before is not None:
            os.environ["PGSERVICE"] = before


def _variables() -> dict[str, str]:
    """Give the environment variable of each of libpq's parameters that has one."""
    from psycopg.pq import Conninfo

    return {
        option.keyword.decode(): option.envvar.decode()
        for option in Conninfo.get_defaults()
        if option.envvar
    }


def _by_line_or_variable(
    known: Mapping[str, str], variables: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Share the parameters out: lines of a service file, and variables for what no line can hold.

    libpq cuts blanks at the end of a line. With PGCLIENTENCODING psql leaves the encoding alone.
    """
    lines, others = [], {}
    for name, value in known.items():
        line = f"{name}={value}"
        fits = line == line.rstrip() and len(os.fsencode(line)) < _LONGEST_LINE
        if fits and len(line.splitlines()) == 1 and name != "client_encoding":
            lines.append(line)
        elif name in variables:
            others[variables[name]] = value
        elif value:
            raise TargetError(f"psql cannot be given this target's {name}: no file can hold it")
    return lines, others


@contextmanager
def _service_file(lines: list[str]) -> Generator[Path]:
    """Write the parameters where we alone may read them, for as long as psql runs."""
    descriptor, name = tempfile.mkstemp(prefix="headwater-", suffix=".service")
    try:
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - made with its mode
            file.write(os.fsencode("\n".join([f"[{_SERVICE}]", *lines, ""])))
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    """Run psql to its end and give its exit code, as a shell would say it."""
    with _ends_handed_on() as hand_to, subprocess.Popen(arguments, env=environment) as process:
        hand_to(process)
        while True:
            # Ctrl-C reaches psql as well, which cancels its query and goes on; so do we.
            with contextlib.suppress(KeyboardInterrupt):
                code = process.wait()
                return code if code >= 0 else 128 - code


@contextmanager
def _ends_handed_on() -> Generator[Callable[[subprocess.Popen[bytes]], None]]:
    """Hand SIGTERM and SIGHUP to psql: it ends, and then so do we, with our file removed.

    Gives the function that is told of psql; what came before it is handed on then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda _: None
        return
    early, processes = list[int](), list[subprocess.Popen[bytes]]()

    def hand_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        early.append(number)
        for process in processes:
            process.send_signal(number)

    def hand_to(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        for number in early:
            process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield hand_to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _own_psql(environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    from headwater.postgres.installation import installation

    programs = installation()
    return str(programs.program("psql")), environment | {
        "LD_LIBRARY_PATH": programs.environment["LD_LIBRARY_PATH"]
    }


def _need_psql() -> NoReturn:
    raise TargetError("psql is not installed", hint="install PostgreSQL's client programs")
