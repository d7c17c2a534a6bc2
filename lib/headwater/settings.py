"""Settings: the real environment over `.env` over `[tool.headwater]` over the defaults.

`load_settings` reads all of them once and gives one frozen `Settings`; everything that is wrong
is told in one error. No driver is needed, and no value that may hold a password is ever quoted.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headwater import settings_forms as forms
from headwater.errors import SettingsError

if TYPE_CHECKING:
    from dotenv.parser import Original

# 4 8 15 16 23 42, the numbers of a well-known television series. Any number does, as long as every
# runner of a project uses the same one and no other tool picks it by accident.
DEFAULT_LOCK_KEY = 4815162342

# Of the reference schema. The name of what a block of as_application is for stands in the braces.
DEFAULT_APPLICATION_ROLE = "app_rls"
DEFAULT_APPLICATION_SETTING = "app.current_{}_id"

T = TypeVar("T")

# libpq's variables that say *which* database; any one of them makes libpq's rules the choice.
LIBPQ_CHOICE = ("PGHOST", "PGSERVICE", "PGDATABASE")

# libpq's variables that may stand in `.env`, with the connection keyword of each. (Those in the
# real environment libpq reads by itself.) https://www.postgresql.org/docs/18/libpq-envars.html
LIBPQ_KEYWORDS = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGSERVICE": "service",
    "PGOPTIONS": "options",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGREQUIREAUTH": "require_auth",
    "PGCHANNELBINDING": "channel_binding",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One setting: its name in the environment, and what it is, for `.env.example`."""

    name: str
    meaning: str
    example: str


VARIABLES = (
    Variable(
        name="DATABASE_URL",
        meaning="The database to work on. Unset: a private server of this checkout.",
        example="postgresql://user:password@localhost:5432/app",
    ),
    Variable(
        name="HEADWATER_SCRATCH_URL",
        meaning="A server where verify may make and drop scratch databases.",
        example="postgresql://user:password@localhost:5432/postgres",
    ),
    Variable(
        name="TEST_DATABASE_URL",
        meaning="A server for the tests' databases. Unset: the private server.",
        example="postgresql://user:password@localhost:5432/postgres",
    ),
    Variable(
        name="HEADWATER_MIGRATIONS",
        meaning="The folder of migrations, seen from the folder of tasks.py.",
        example="migrations",
    ),
    Variable(
        name="HEADWATER_SEEDS",
        meaning="The folder of seeds, seen from the folder of tasks.py; there may be none.",
        example="seeds",
    ),
    Variable(
        name="HEADWATER_SCHEMAS",
        meaning="The schemas that the migrations build: reset drops them. Comma-separated.",
        example="kb,core",
    ),
    Variable(
        name="HEADWATER_HISTORY_TABLE",
        meaning="The table that remembers what was applied, with its schema.",
        example="public.schema_migrations",
    ),
    Variable(
        name="HEADWATER_LOCK_KEY",
        meaning="The advisory lock that runners of one database share: a whole number.",
        example=str(DEFAULT_LOCK_KEY),
    ),
    Variable(
        name="HEADWATER_LOCK_TIMEOUT",
        meaning="How long a statement may wait for a table's lock before the file is retried.",
        example="2s",
    ),
    Variable(
        name="HEADWATER_WAIT_LOCK",
        meaning="How long to wait for another runner to finish.",
        example="60s",
    ),
    Variable(
        name="HEADWATER_WAIT_CONCURRENTLY",
        meaning="How long a CONCURRENTLY may wait for other sessions before it is cancelled.",
        example="10min",
    ),
    Variable(
        name="HEADWATER_APPLICATION_ROLE",
        meaning="The role under which the application works: as_application in tests takes it.",
        example=DEFAULT_APPLICATION_ROLE,
    ),
    Variable(
        name="HEADWATER_APPLICATION_SETTING",
        meaning="The settings that its policies read; {} stands for a keyword of as_application.",
        example=DEFAULT_APPLICATION_SETTING,
    ),
    Variable(name="NO_COLOR", meaning="Set to anything: no colours.", example="1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseChoice:
    """Which database was asked for: a URL, or libpq keywords, and where that was said."""

    source: str
    url: str = field(default="", repr=False)
    keywords: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run needs to know. Durations are whole milliseconds."""

    root: Path
    """The folder of tasks.py: relative paths start here, and it owns the private server."""
    migrations: Path
    seeds: Path | None = None
    """The folder of seeds where it is named; None: `seeds` beside tasks.py, if it is there."""
    schemas: tuple[str, ...] = ("public",)
    history_schema: str = "public"
    history_table: str = "schema_migrations"
    lock_key: int = DEFAULT_LOCK_KEY
    lock_timeout_ms: int = 2_000
    wait_lock_ms: int = 60_000
    wait_concurrently_ms: int = 600_000
    application_role: str = DEFAULT_APPLICATION_ROLE
    application_setting: str = DEFAULT_APPLICATION_SETTING
    database: DatabaseChoice | None = None
    """None: the private server."""
    scratch: DatabaseChoice | None = None
    test: DatabaseChoice | None = None

    @property
    def seeds_folder(self) -> Path:
        """Give the folder of seeds: the one that is named, or `seeds`, which need not be there."""
        return self.seeds or self.root / "seeds"

    @property
    def history(self) -> str:
        """Give the history table as `schema.table`."""
        return f"{self.history_schema}.{self.history_table}"


def load_settings(root: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read every source and check every value.

    `root` is the folder of tasks.py; `environ` the real environment (default: this process's).
    Raises SettingsError that lists everything wrong, and never quotes a value with a password.
    """
    sources = _Sources(root, os.environ if environ is None else environ)
    history_schema, history_table = sources.read(
        "HEADWATER_HISTORY_TABLE", forms.qualified, ("public", "schema_migrations")
    )
    seeds = sources.read("HEADWATER_SEEDS", forms.folder, "")
    settings = Settings(
        root=root,
        migrations=root / sources.read("HEADWATER_MIGRATIONS", forms.folder, "migrations"),
        seeds=root / seeds if seeds else None,
        schemas=sources.read("HEADWATER_SCHEMAS", forms.names, ("public",)),
        history_schema=history_schema,
        history_table=history_table,
        lock_key=sources.read("HEADWATER_LOCK_KEY", forms.lock_key, DEFAULT_LOCK_KEY),
        lock_timeout_ms=sources.read("HEADWATER_LOCK_TIMEOUT", forms.positive, 2_000),
        wait_lock_ms=sources.read("HEADWATER_WAIT_LOCK", forms.milliseconds, 60_000),
        wait_concurrently_ms=sources.read("HEADWATER_WAIT_CONCURRENTLY", forms.positive, 600_000),
        application_role=sources.read(
            "HEADWATER_APPLICATION_ROLE", forms.role, DEFAULT_APPLICATION_ROLE
        ),
        application_setting=sources.read(
            "HEADWATER_APPLICATION_SETTING", forms.context_setting, DEFAULT_APPLICATION_SETTING
        ),
        database=sources.read_url("DATABASE_URL") or sources.read_libpq(),
        scratch=sources.read_url("HEADWATER_SCRATCH_URL"),
        test=sources.read_url("TEST_DATABASE_URL"),
    )
    sources.refuse_unknown()
    # A managed public is emptied, and keeps the history; any other schema is dropped with it.
    if history_schema != "public" and history_schema in settings.schemas:
        sources.problems.append(
            f"HEADWATER_HISTORY_TABLE: {settings.history} is inside a schema that reset drops"
        )
    if environ is None and "NO_COLOR" in sources.dotenv:
        # The one that others read, rich and the programs that a task runs: it goes where they look.
        os.environ.setdefault("NO_COLOR", sources.dotenv["NO_COLOR"])
    if sources.problems:
        raise SettingsError(
            "the settings cannot be used",
            detail="\n".join(sources.problems),
            hint="docs/settings.md lists every setting and its form",
        )
    return settings


def duration_of_flag(flag: str, text: str) -> int:
    """Read the duration that a flag was given, in ms. Raises SettingsError that names the flag."""
    try:
        return forms.milliseconds(text)
    except ValueError as error:
        raise SettingsError(f"{flag}: {error}") from None


def with_limits(settings: Settings, *, wait_lock: str, wait_concurrently: str) -> Settings:
    """Give settings whose limits are those of the command line, where they were given.

    Raises SettingsError for a text that is no duration.
    """
    try:
        return replace(
            settings,
            wait_lock_ms=forms.milliseconds(wait_lock) if wait_lock else settings.wait_lock_ms,
            wait_concurrently_ms=forms.positive(wait_concurrently)
            if wait_concurrently
            else settings.wait_concurrently_ms,
        )
    except ValueError as error:
        raise SettingsError(
            "a limit on the command line cannot be used",
            detail=str(error),
            hint="write it as in: invoke migrate --wait-lock 10min --wait-concurrently 30min",
        ) from None


class _Sources:
    """The layers of settings, asked in order of precedence; collects everything wrong."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self.environ = {name: value for name, value in environ.items() if value}
        self.dotenv = self._read_dotenv(root / ".env")
        self.toml_name, self.toml = self._read_toml(root)

    def read(self, name: str, convert: Callable[[str], T], default: T) -> T:
        """Give the converted value, or the default after noting why it cannot be converted."""
        value, source = self._find(name)
        if not value:
            return default
        try:
            return convert(value)
        except ValueError as error:
            self.problems.append(f"{source}: {error}")
            return default

    def read_url(self, name: str) -> DatabaseChoice | None:
        """Give the database that a URL names; the URL itself is never part of a problem."""
        value, source = self._find(name)
        if not value:
            return None
        self.problems += [f"{source}: {fault}" for fault in forms.faults_of_url(value)]
        return DatabaseChoice(source=source, url=value)

    def read_libpq(self) -> DatabaseChoice | None:
        """Give libpq's choice when one of its variables says which database."""
        merged = self.dotenv | self.environ
        chosen = [name for name in LIBPQ_CHOICE if name in merged]
        if not chosen:
            return None
        found = {name: merged[name] for name in LIBPQ_KEYWORDS if name in merged}
        self.problems += [
            f"{self._find(name)[1]}: {fault}"
            for name, value in found.items()
            if (fault := forms.fault_of_libpq(name, value))
        ]
        exported = [name for name in chosen if name in self.environ]
        written = [name for name in chosen if name not in self.environ]
        return DatabaseChoice(
            source=" and ".join(
                f"{', '.join(names)} in {place}"
                for names, place in ((exported, "the environment"), (written, ".env"))
                if names
            ),
            keywords={LIBPQ_KEYWORDS[name]: value for name, value in found.items()},
        )

    def refuse_unknown(self) -> None:
        """Note every HEADWATER_ variable that is no setting: a slip would be silently ignored.

        So would `database_url` be, and another database be worked on.
        """
        known = [variable.name for variable in VARIABLES]
        for place, values in (("the environment", self.environ), (".env", self.dotenv)):
            self.problems += [
                f"{name} in {place} is no setting"
                for name in sorted(values)
                if name.upper().startswith("HEADWATER_") and name not in known
            ]
        self.problems += [
            f"{name} in .env is no setting; write {name.upper()}"
            for name in sorted(self.dotenv)
            if name != name.upper() in ("DATABASE_URL", "TEST_DATABASE_URL", *LIBPQ_KEYWORDS)
        ]

    def _find(self, name: str) -> tuple[str, str]:
        """Give the value and where it came from; the value is empty when nobody sets it."""
        if name in self.environ:
            return self.environ[name], f"{name} in the environment"
        if name in self.dotenv:
            return self.dotenv[name], f"{name} in .env"
        key = _toml_key(name)
        return self.toml.get(key, ""), f"{key} in {self.toml_name}"

    def _read_dotenv(self, path: Path) -> dict[str, str]:
        """Read `.env` by python-dotenv's grammar, without interpolation; empty means unset."""
        if not path.exists():
            return {}
        from dotenv.parser import parse_stream

        try:
            bindings = list(parse_stream(StringIO(_text_of(path))))
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f".env cannot be read: {_reason(error)}")
            return {}
        self.problems += [
            f".env line {_first_line(binding.original)} is not of the form NAME=value"
            for binding in bindings
            if binding.error or (binding.key and not _is_pair(binding.key, binding.value))
        ]
        last = {binding.key: binding.value for binding in bindings if binding.key}
        return {name: value for name, value in last.items() if value}

    def _read_toml(self, root: Path) -> tuple[str, dict[str, str]]:
        """Read `headwater.toml`, or else `[tool.headwater]` of `pyproject.toml`."""
        for name, path_to_table in (
            ("headwater.toml", ()),
            ("pyproject.toml", ("tool", "headwater")),
        ):
            path = root / name
            if not path.exists():
                continue
            try:
                table: Any = tomllib.loads(_text_of(path))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                self.problems.append(f"{name} cannot be read: {_reason(error)}")
                continue
            for key in path_to_table:
                table = table.get(key, {}) if isinstance(table, dict) else {}
            if table and not isinstance(table, dict):
                self.problems.append(f"{name}: headwater must be a table, [tool.headwater]")
            elif table:
                return name, self._texts(table, name)
        return "", {}

    def _texts(self, table: dict[str, Any], name: str) -> dict[str, str]:
        """Turn TOML values into the texts that the environment would hold; refuse unknown keys."""
        known = [_toml_key(v.name) for v in VARIABLES if v.name.startswith("HEADWATER_")]
        texts = {}
        for key, value in table.items():
            if key not in known:
                self.problems.append(
                    f"{name}: {forms.key(key)} is no setting (known: {', '.join(known)})"
                )
            elif key == "schemas" and _is_list_of_texts(value):
                texts[key] = ",".join(value)
            elif isinstance(value, str | int) and not isinstance(value, bool):
                texts[key] = str(value)
            else:
                lists = ", or a list of texts" if key == "schemas" else ""
                self.problems.append(f"{name}: {key} must be a text or a whole number{lists}")
        return texts


def _toml_key(name: str) -> str:
    return name.removeprefix("HEADWATER_").lower()


def _first_line(original: Original) -> int:
    """Give the line of a binding itself: python-dotenv counts from the blank lines above it."""
    text = original.string
    return original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _is_pair(name: str, value: str | None) -> bool:
    """Say whether a line of `.env` sets something: `$env:NAME = x` of another shell does not."""
    return value is not None and "\x00" not in value and re.fullmatch(r"\w[\w.]*", name) is not None


def _text_of(path: Path) -> str:
    """Read a file of settings; one that is none, such as a pipe, is not waited for."""
    with open(path, encoding="utf-8-sig", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        return file.read()


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, and not wait for a writer where it is a pipe (Windows has neither)."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _reason(error: Exception) -> str:
    """Say why a file cannot be read, without quoting it: it may hold a password."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    where = re.search(r" \(at [a-z0-9, ]+\)$", str(error))
    return f"it is not TOML{where[0] if where else ''}"


def count_of(flag: str, text: str | None) -> int:
    """Read how many, from 1 on, a flag says; 0 when it was not given. Raises SettingsError."""
    if text is None:
        return 0
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise SettingsError(f"{flag} takes a whole number, at least 1")
    return int(text)


def given(flag: str, text: str | None, otherwise: str = "name a version") -> str:
    """Read a flag whose value may come from a variable: empty is not the same as not given."""
    if text is not None and not text.strip():
        raise SettingsError(f"{flag} is empty: leave it out, or {otherwise}")
    return text or ""
