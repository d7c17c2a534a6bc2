"""How fast Headwater is, as ratios against a bare baseline measured in the same run.

    python benchmarks/speed.py [--runs N]

Each ratio is that of the medians of N runs (7 by default), the two sides taken in turns, so that a
machine whose speed changes slows both alike. The processes work on the private server of this
checkout; the library on a database that is made for it and dropped.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psycopg

from headwater.files.read import read_folder
from headwater.model import Applied, MigrationFolder, Target
from headwater.postgres.connect import libpq_variables_hidden
from headwater.postgres.databases import create_database, drop_database
from headwater.postgres.installation import installation
from headwater.postgres.plan import make_plan
from headwater.postgres.reset import reset
from headwater.postgres.server import server_of, start
from headwater.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "headwater_benchmark"
FILES = 5_000

Action = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure: what is measured, against what, and the ratio that is aimed at."""

    name: str
    ours: Action
    bare: Action
    target: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=7)
    runs = max(arguments.parse_args().runs, 7)
    settings = load_settings(ROOT, environ={})
    access = start(server_of(ROOT))
    target = access.target(DATABASE, "benchmark")
    with psycopg.connect(access.target("postgres").conninfo, autocommit=True) as admin:
        drop_database(admin, DATABASE)
        create_database(admin, DATABASE)
        try:
            with tempfile.TemporaryDirectory() as folder, libpq_variables_hidden():
                for comparison in comparisons(settings, target, Path(folder)):
                    report(comparison, runs)
        finally:
            drop_database(admin, DATABASE)


def comparisons(settings: Settings, target: Target, work: Path) -> list[Comparison]:
    folder = read_folder(settings.migrations)
    script = work / "schema.sql"
    script.write_bytes(bare_script(folder, settings))
    many = many_files(work / "many")
    return [
        Comparison(
            name="library: reset ÷ the same drop and SQL through bare psycopg",
            ours=lambda: reset(target, read_folder(settings.migrations), settings),
            bare=lambda: bare_reset(target, script.read_bytes()),
            target=1.15,
        ),
        Comparison(
            name="process: invoke reset ÷ psql -X -q -1 -f",
            ours=lambda: run(invoke("reset"), target),
            bare=lambda: run([*psql(), "-f", str(script)], target),
            target=2.2,
        ),
        Comparison(
            name="process: invoke migrate, nothing to do ÷ import invoke, psycopg",
            ours=lambda: run(invoke("migrate"), target),
            bare=lambda: run([sys.executable, "-c", "import invoke, psycopg"], target),
            target=1.3,
        ),
        Comparison(
            name="process: invoke --list ÷ import invoke",
            ours=lambda: run(invoke("--list"), target),
            bare=lambda: run([sys.executable, "-c", "import invoke"], target),
            target=1.3,
        ),
        Comparison(
            name=f"library: read, hash and plan {FILES:,} files ÷ read and sha-256",
            ours=lambda: plan_all(many),
            bare=lambda: [hashlib.sha256(p.read_bytes()).digest() for p in sorted(many.iterdir())],
            target=3.0,
        ),
    ]


def report(comparison: Comparison, runs: int) -> None:
    """Run both sides in turns, once unmeasured, and print medians and ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    for count in range(runs + 1):
        for action, found in zip((comparison.ours, comparison.bare), times, strict=True):
            begun = time.perf_counter()
            action()
            if count:
                found.append(time.perf_counter() - begun)
    ours, bare = map(statistics.median, times)
    print(
        f"{ours / bare:5.2f}  (aim {comparison.target:.2f})  {comparison.name}  "
        f"[{ours * 1000:.0f} ms ÷ {bare * 1000:.0f} ms, medians of {runs}]",
        flush=True,
    )


# --- the two sides ----------------------------------------------------------------------------


def bare_script(folder: MigrationFolder, settings: Settings) -> bytes:
    names = ", ".join(settings.schemas)
    drop = f"drop schema if exists {names} cascade;\n"
    return "\n".join([drop, *(m.text for m in folder.migrations)]).encode()


def bare_reset(target: Target, script: bytes) -> None:
    with psycopg.connect(target.conninfo) as connection:
        connection.execute(script)


def run(command: list[str], target: Target) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "DATABASE_URL": target.conninfo,
        "PGDATABASE": "",
        "LD_LIBRARY_PATH": str(installation().folder / "lib"),
    }
    if "psql" in command[0]:
        command = [*command, "-d", target.conninfo]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)


def invoke(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "invoke"), *arguments]


def psql() -> list[str]:
    program = installation().program("psql")
    own = str(program) if program.exists() else shutil.which("psql") or "psql"
    return [own, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]


def many_files(folder: Path) -> Path:
    """Write many small migrations, one a day."""
    folder.mkdir()
    for number in range(FILES):
        day = date(2010, 1, 1) + timedelta(days=number)
        (folder / f"{day:%Y%m%d}_step_{number}.sql").write_text(
            f"create table app.t_{number} (id bigint primary key, name text not null);\n"
        )
    return folder


def plan_all(folder: Path) -> None:
    migrations = read_folder(folder).migrations
    history = [Applied(version=m.version, checksum=m.checksum) for m in migrations]
    plan = make_plan(migrations, history)
    assert not plan.problems
    assert not plan.steps


if __name__ == "__main__":
    main()
