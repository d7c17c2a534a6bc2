"""A shell on the target: psql, without the password in anybody's process list."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import NoReturn
from urllib.parse import quote, urlencode

from headwater.errors import TargetError
from headwater.model import Target
from headwater.postgres.connect import parameters


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

    The password goes by environment, which other users cannot read; the private server's own
    psql serves where the system has none.
    """
    known = {name: str(value) for name, value in parameters(target).items()}
    environment = {
        k: v for k, v in os.environ.items() if not (target.private and k.startswith("PG"))
    }
    if password := known.pop("password", ""):
        environment["PGPASSWORD"] = password
    known.pop("require_auth", None)  # psql before 16 does not know it
    program = shutil.which("psql")
    if program is None or target.private:
        program, environment = _own_psql(environment) if target.private else _need_psql()
    from psycopg import conninfo

    arguments = [program, "-d", conninfo.make_conninfo(**known)]
    if command:
        arguments += ["-X", "-v", "ON_ERROR_STOP=1", "-c", command]
    with subprocess.Popen(arguments, env=environment) as process:
        while True:
            # Ctrl-C reaches psql as well, which cancels its query and goes on; so do we.
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()


def _own_psql(environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    from headwater.postgres.installation import installation

    programs = installation()
    return str(programs.program("psql")), environment | {
        "LD_LIBRARY_PATH": programs.environment["LD_LIBRARY_PATH"]
    }


def _need_psql() -> NoReturn:
    raise TargetError("psql is not installed", hint="install PostgreSQL's client programs")
