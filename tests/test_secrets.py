"""No password is ever shown: not in what a task writes, nor in a file, nor in the process list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

import psycopg
import pytest
from psycopg import conninfo, sql

import tasks
from headwater.model import Target
from headwater.report.workflow import BUG
from tests.faults.stride import DAY, STRIDE
from tests.projects import Project, make_project
from tests.support import drop_templates_of, query

RUNNER = Path(__file__).parent / "in_one_process.py"

# Each part of a password holds this word, and nothing else here does. (Where a reserved character
# in a password moves the borders of a URL, one part alone may become a host or a database.)
MARK = "canary"
ONE, TWO = f"{MARK}one", f"{MARK}two"

# Their output is that of the programs that they run on the code, which know no target.
EXCLUDED = ("test", "dev.check")

# Port 1 is nobody's: what passes the settings ends with a refused connection.
PLACE = "localhost:1/db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A wrong way of saying a password: by variables, or in files of the project."""

    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def url(text: str) -> Fault:
    return Fault(variables={"DATABASE_URL": text})


FAULTS = {
    "an escape that is none": url(f"postgresql://me:{ONE}%zz{TWO}@{PLACE}"),
    "a lonely percent": url(f"postgresql://me:{ONE}%@{PLACE}"),
    "an escaped NUL": url(f"postgresql://me:{ONE}%00{TWO}@{PLACE}"),
    "a blank": url(f"postgresql://me:{ONE} {TWO}@{PLACE}"),
    "a blank in front": url(f" postgresql://me:{ONE}@{PLACE}"),
    "a bracket that is open": url(f"postgresql://me:{ONE}@[::1:1/db"),
    "a slash": url(f"postgresql://me:{ONE}/{TWO}@{PLACE}"),
    "an @": url(f"postgresql://me:{ONE}@{TWO}@{PLACE}"),
    "a question mark": url(f"postgresql://me:{ONE}?{TWO}@{PLACE}"),
    "a hash": url(f"postgresql://me:{ONE}#{TWO}@{PLACE}"),
    "a colon": url(f"postgresql://me:{ONE}:{TWO}@{PLACE}"),
    "no host": url(f"postgresql://me:{ONE}"),
    "a port that is no number": url(f"postgresql://me:{ONE}@localhost:port/db"),
    "an unknown parameter": url(f"postgresql://me:{ONE}@{PLACE}?colour=red"),
    "a parameter without a value": url(f"postgresql://me:{ONE}@{PLACE}?{TWO}"),
    "a newline": url(f"postgresql://me:{ONE}\n{TWO}@{PLACE}"),
    "a quote": url(f'"postgresql://me:{ONE}"{TWO}@{PLACE}'),
    "a quote inside": url(f"postgresql://me:{ONE}'{TWO}@{PLACE}"),
    "beyond ASCII": url(f"postgresql://me:{ONE}é€{TWO}@{PLACE}"),
    "bytes that are no text": url(f"postgresql://me:{ONE}\udcff{TWO}@{PLACE}"),
    "escapes": url(f"postgresql://me:%63anaryone%2F%63%61%6e%61%72%79@{PLACE}"),
    "escapes that are no UTF-8": url(f"postgresql://me:{ONE}%ff@{PLACE}"),
    "in options": url(f"postgresql://me:{ONE}@{PLACE}?options=-c%20a.password%3D{TWO}"),
    "a service that is none": url(f"postgresql://me:{ONE}@/db?service=nowhere"),
    "several hosts": url(f"postgresql://me:{ONE}@localhost:1,127.0.0.1:2/db"),
    "a parameter": url(f"postgresql://me@{PLACE}?password={ONE}"),
    "a key's password": url(f"postgresql://me@{PLACE}?sslpassword={ONE}&sslkey=/nowhere"),
    "a TLS mode that is none": url(f"postgresql://me:{ONE}@{PLACE}?sslmode=maybe"),
    "a timeout that is none": url(f"postgresql://me:{ONE}@{PLACE}?connect_timeout=soon"),
    "a host that cannot be": url(f"postgresql://me:{ONE}@a..b:1/db"),
    "keywords": url(f"host=localhost port=1 user=me password={ONE} dbname=db"),
    "no scheme": url(f"me:{ONE}@{PLACE}"),
    "another scheme": url(f"postgresql+psycopg://me:{ONE}@{PLACE}"),
    "PGPASSWORD": Fault(variables={"PGHOST": "localhost", "PGPORT": "1", "PGPASSWORD": ONE}),
    "PGPASSWORD, and a bad port": Fault(
        variables={"PGHOST": "localhost", "PGPORT": "x", "PGPASSWORD": ONE}
    ),
    "a URL in PGDATABASE": Fault(variables={"PGDATABASE": f"postgresql://me:{ONE}@{PLACE}"}),
    "keywords in PGDATABASE": Fault(variables={"PGDATABASE": f"dbname=db password={ONE}"}),
    "an authority in PGHOST": Fault(variables={"PGHOST": f"me:{ONE}@localhost"}),
    "an authority in PGUSER": Fault(
        variables={"PGHOST": "localhost", "PGPORT": "1", "PGUSER": f"me:{ONE}@localhost"}
    ),
    "keywords in PGHOST": Fault(variables={"PGHOST": f"localhost password={ONE}"}),
    "an authority in PGPORT": Fault(variables={"PGHOST": "localhost", "PGPORT": f":{ONE}@h:1"}),
    ".env": Fault(files={".env": f"DATABASE_URL=postgresql://me:{ONE}%zz@{PLACE}\n"}),
    ".env, quoted": Fault(files={".env": f'DATABASE_URL="postgresql://me:{ONE} {TWO}@{PLACE}"\n'}),
    ".env, a quote that is open": Fault(
        files={".env": f'DATABASE_URL="postgresql://me:{ONE}@{PLACE}\n'}
    ),
    ".env, no assignment": Fault(files={".env": f"DATABASE URL postgresql://me:{ONE}@{PLACE}\n"}),
    ".env, a NUL": Fault(files={".env": f"DATABASE_URL=postgresql://me:{ONE}\0{TWO}@{PLACE}\n"}),
    ".env, PGPASSWORD": Fault(files={".env": f"PGHOST=localhost\nPGPORT=1\nPGPASSWORD={ONE}\n"}),
    "headwater.toml": Fault(
        files={"headwater.toml": f'database_url = "postgresql://me:{ONE}@{PLACE}"\n'}
    ),
    "headwater.toml, broken": Fault(
        files={"headwater.toml": f"database_url = postgresql://me:{ONE}@{PLACE}\n"}
    ),
    "headwater.toml, a key": Fault(
        files={"headwater.toml": f'"postgresql://me:{ONE}@{PLACE}" = 1\n'}
    ),
    "headwater.toml, a key twice": Fault(
        files={"headwater.toml": f'["me:{ONE}@h"]\n["me:{ONE}@h"]\n'}
    ),
    "pyproject.toml": Fault(
        files={
            "pyproject.toml": f'[tool.headwater]\nmigrations = "postgresql://me:{ONE}@{PLACE}"\n'
        }
    ),
    "a folder": Fault(variables={"HEADWATER_MIGRATIONS": f"postgresql://me:{ONE}@{PLACE}"}),
    "a history table": Fault(variables={"HEADWATER_HISTORY_TABLE": f"x.me:{ONE}@localhost"}),
    "schemas": Fault(variables={"HEADWATER_SCHEMAS": f"me:{ONE}@localhost"}),
    "a lock's key": Fault(variables={"HEADWATER_LOCK_KEY": f"password={ONE}"}),
    "a lock's timeout": Fault(variables={"HEADWATER_LOCK_TIMEOUT": f"://{ONE}"}),
    "a name that is no setting": Fault(variables={"HEADWATER_URL": f"postgresql://me:{ONE}@h/db"}),
    "the scratch server": Fault(
        variables={
            "DATABASE_URL": f"postgresql://me@{PLACE}",
            "HEADWATER_SCRATCH_URL": f"postgresql://me:{ONE}/{TWO}@{PLACE}",
        }
    ),
    "the tests' server": Fault(
        variables={
            "DATABASE_URL": f"postgresql://me@{PLACE}",
            "TEST_DATABASE_URL": f"postgresql://me:{ONE}%zz@{PLACE}",
        }
    ),
}

FILES = {
    "20240101_first.sql": "create schema app;\ncreate table app.t (i bigint primary key);\n",
    "20240201_second.sql": "alter table app.t add column j bigint;\n",
}
FLAGS = {
    "db.psql": ("--command 'select pg_sleep(0.3)'",),
    "migrate": ("--dry-run --json", "--trial", "--to 20240101_first", ""),
    "wait": ("--timeout 100ms",),
}


def commands() -> Iterator[str]:
    """Give a command for each task that there is, and its flags; what has a name gets one."""
    for name in sorted(tasks.namespace.task_names):
        if name in EXCLUDED:
            continue
        positional = " ".join("something" for _ in tasks.namespace[name].positional)
        for flags in FLAGS.get(name, ("",)):
            yield " ".join(filter(None, [name, positional, flags]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a task, and what it wrote."""

    command: str
    code: int
    wrote: str


def runs_of(
    project: Project, lines: list[str], *, beside: Project | None = None, **variables: str
) -> list[Run]:
    """Run commands in one process whose environment holds these variables.

    `beside` is where db.destroy runs: making a server anew costs a second.
    """
    environment = project.environment() | variables
    folders = [beside if beside and "db.destroy" in line else project for line in lines]
    wanted = [
        json.dumps([str(folder.root), line]) for folder, line in zip(folders, lines, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, str(RUNNER)],
        cwd=project.root,
        env={os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
        input="\n".join(wanted).encode(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    runs = [Run(**json.loads(line)) for line in done.stdout.decode().splitlines()]
    assert [run.command for run in runs] == lines
    return runs


def is_seen(text: str) -> bool:
    """Say whether a part of a password stands in a text, as it is or in escapes."""
    return MARK in text.lower() or MARK in unquote(text).lower()


def files_that_show(root: Path) -> list[str]:
    """Give the files below a folder that hold a password."""
    return [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and is_seen(path.read_bytes().decode(errors="replace"))
    ]


class Watcher(threading.Thread):
    """Looks at the arguments of every process of this machine, twenty-five times a second."""

    def __init__(self, is_sought: Callable[[str], bool]) -> None:
        super().__init__()
        self.is_sought = is_sought
        self.ended = threading.Event()
        self.seen = set[str]()
        self.programs = set[str]()
        self.looks = 0

    def run(self) -> None:
        while not self.ended.wait(0.04):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    arguments = path.read_bytes()
                except OSError:
                    continue
                self.programs.add(Path(os.fsdecode(arguments.partition(b"\0")[0])).name)
                text = arguments.replace(b"\0", b" ").decode(errors="replace")
                if self.is_sought(text):
                    self.seen.add(text)


@contextmanager
def watched(is_sought: Callable[[str], bool] = is_seen) -> Generator[Watcher]:
    """Watch the process list for as long as it is entered."""
    watcher = Watcher(is_sought)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.ended.set()
        watcher.join()


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="only Linux shows arguments in /proc"
)


@pytest.fixture
def project(tmp_path: Path) -> Generator[Project]:
    """A project that names no database; its private server goes with it."""
    project = make_project(tmp_path / "project", FILES)
    yield project
    project.invoke("db.destroy")


@contextmanager
def saying(fault: Fault, *projects: Project) -> Generator[None]:
    """Write the files of a fault into projects, and put back what was there."""
    before = {
        project.root / name: (project.root / name).read_bytes()
        for project in projects
        for name in fault.files
        if (project.root / name).exists()
    }
    for project in projects:
        project.write(fault.files)
    yield
    for project in projects:
        for name in fault.files:
            (project.root / name).unlink()
    for path, content in before.items():
        path.write_bytes(content)


# Invoke's own log, and the drivers', on stderr.
DEBUGGED = (
    "migrate",
    "migrate --dry-run --json",
    "status",
    "reset",
    "db.psql --command 'select 1'",
)

# Each a test of its own, so that they run side by side. Where only a part is run, it is another one
# each day.
GROUPS = 8
CHOSEN = range(GROUPS) if STRIDE == 1 else [DAY % GROUPS]


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("group", CHOSEN)
def test_no_task_shows_a_password_that_was_said_in_a_wrong_way(
    group: int, tmp_path: Path, project: Project
) -> None:
    beside = make_project(tmp_path / "beside", FILES)
    lines = [*commands(), *(f"--debug {line}" for line in DEBUGGED)]
    faults = list(FAULTS.items())[group::GROUPS]
    shown, bugs, total = list[str](), list[str](), 0
    with watched() as watcher:
        for name, fault in faults:
            with saying(fault, project, beside):
                for run in runs_of(project, lines, beside=beside, **fault.variables):
                    total += 1
                    if is_seen(without_asked_for(run)):
                        shown.append(f"{name}: {run.command}:\n{run.wrote}")
                    if run.code == BUG:
                        bugs.append(f"{name}: {run.command}:\n{run.wrote}")
            shown += [f"{name}: file {file}" for file in files_that_show(tmp_path)]
    print(f"passwords seen: {len(shown)} of {total} runs ({len(faults)} faults)")
    assert total == len(faults) * len(lines)
    assert not shown, "\n".join(shown)
    assert not bugs, "\n".join(bugs)
    assert not watcher.seen
    assert watcher.looks > 10


def test_there_are_faults_and_tasks_enough() -> None:
    assert len(FAULTS) >= 20
    ran = {line.split()[0] for line in commands()}
    assert ran == set(tasks.namespace.task_names) - set(EXCLUDED)


def without_asked_for(run: Run) -> str:
    """Give what a run wrote, without the URL that db.url prints where libpq can read it."""
    if run.command != "db.url" or run.code:
        return run.wrote
    url, *rest = run.wrote.splitlines()
    assert url.startswith("postgresql://")
    return "\n".join(rest)


PASSWORD = f"{ONE} {TWO}/%:@'é"


@pytest.fixture
def named(target: Target) -> Generator[Target]:
    """The target, for a role whose password is a secret, and who may do everything."""
    role = f"secretive_{target.database[-12:]}"
    secret = sql.Literal(PASSWORD).as_string()
    with psycopg.connect(target.conninfo, autocommit=True) as admin:
        admin.execute(f"create role {role} superuser login password {secret}".encode())
    try:
        yield Target(
            host=target.host,
            port=target.port,
            database=target.database,
            user=role,
            source="test",
            conninfo=conninfo.make_conninfo(target.conninfo, user=role, password=PASSWORD),
        )
    finally:
        query(target, f"reassign owned by {role} to postgres; drop owned by {role}")
        drop_templates_of(target, role)
        query(target, f"drop role {role}")


def ways_of_saying(target: Target, root: Path) -> dict[str, dict[str, str]]:
    """Give every right way of naming a target with a password, as variables."""
    address = f"{target.host}:{target.port}/{target.database}"
    plain = {"PGHOST": target.host, "PGPORT": target.port, "PGUSER": target.user}
    plain["PGDATABASE"] = target.database
    service = "\n".join(
        [
            "[secretive]",
            f"host={target.host}",
            f"port={target.port}",
            f"dbname={target.database}",
            f"user={target.user}",
            f"password={PASSWORD}",
        ]
    )
    (root / "service.conf").write_text(service, encoding="utf-8")
    passfile = root / "passfile"
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    passfile.write_text(f"*:*:*:*:{escaped}\n", encoding="utf-8")
    passfile.chmod(0o600)
    secret = quote(PASSWORD, safe="")
    return {
        "a URL": {"DATABASE_URL": f"postgresql://{target.user}:{secret}@{address}"},
        "a parameter of a URL": {
            "DATABASE_URL": f"postgresql://{target.user}@{address}?password={secret}"
        },
        "PGPASSWORD": plain | {"PGPASSWORD": PASSWORD},
        "PGPASSFILE": plain | {"PGPASSFILE": str(passfile)},
        "PGSERVICE": {"PGSERVICE": "secretive", "PGSERVICEFILE": str(root / "service.conf")},
    }


@pytest.mark.slow
@needs_proc
def test_no_task_shows_the_password_that_it_works_with(
    tmp_path: Path, named: Target, project: Project
) -> None:
    said, beside = tmp_path / "said", make_project(tmp_path / "beside", FILES)
    said.mkdir()
    lines = list(commands())
    shown, total = list[str](), 0
    with watched() as watcher:
        for name, variables in ways_of_saying(named, said).items():
            for run in runs_of(project, lines, beside=beside, **variables):
                total += 1
                if is_seen(without_asked_for(run)):
                    shown.append(f"{name}: {run.command}:\n{run.wrote}")
                if run.command.startswith(("db.psql", "status", "wait")):
                    assert run.code == 0, run.wrote
            shown += [f"{name}: file {file}" for file in files_that_show(project.root)]
    print(f"passwords seen: {len(shown)} of {total} runs on a target that answers")
    assert not shown, "\n".join(shown)
    assert not watcher.seen, "an argument of a process"
    assert "psql" in watcher.programs, "the watcher was too slow to see psql"


def test_a_wrong_password_is_not_shown(tmp_path: Path, target: Target) -> None:
    address = f"{target.host}:{target.port}/{target.database}"
    project = make_project(tmp_path, FILES)
    wrong = f"postgresql://{target.user}:{ONE}@{address}"
    lines = ["status", "status --json", "migrate --trial", "wait", "--debug migrate"]
    for run in runs_of(project, lines, DATABASE_URL=wrong):
        assert not is_seen(run.wrote), run.wrote
        assert run.code == 2, run.wrote


@needs_proc
def test_the_eyes_are_open(tmp_path: Path) -> None:
    """What these tests look for is found where it is."""
    assert is_seen(f"no connection to {ONE}")
    assert is_seen("%63anary")
    assert is_seen(quote(PASSWORD, safe=""))
    (tmp_path / "log").write_text(f"…{TWO}…")
    assert files_that_show(tmp_path) == ["log"]
    # (Another word: other tests of this file look at the same processes.)
    with watched(lambda text: "watchword" in text) as watcher:
        subprocess.run(
            [sys.executable, "-c", "import time; time.sleep(0.5)", "watchword"], check=True
        )
    assert watcher.seen
