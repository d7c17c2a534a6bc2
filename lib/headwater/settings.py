"""Settings: the real environment over `.env` over `[tool.headwater]` over the defaults.

`load_settings` reads all of them once and gives one frozen `Settings`; everything that is wrong
is told in one error. No driver is needed, and no value that may hold a password is ever quoted.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

from headwater.errors import SettingsError

if TYPE_CHECKING:
    from dotenv.parser import Original

# 4 8 15 16 23 42, the numbers of a well-known television series. Any number does, as long as every
# runner of a project uses the same one and no other tool picks it by accident.
DEFAULT_LOCK_KEY = 4815162342

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
    schemas: tuple[str, ...] = ("public",)
    history_schema: str = "public"
    history_table: str = "schema_migrations"
    lock_key: int = DEFAULT_LOCK_KEY
    lock_timeout_ms: int = 2_000
    wait_lock_ms: int = 60_000
    database: DatabaseChoice | None = None
    """None: the private server."""
    scratch: DatabaseChoice | None = None
    test: DatabaseChoice | None = None

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
        "HEADWATER_HISTORY_TABLE", _qualified, ("public", "schema_migrations")
    )
    settings = Settings(
        root=root,
        migrations=root / sources.read("HEADWATER_MIGRATIONS", _folder, "migrations"),
        schemas=sources.read("HEADWATER_SCHEMAS", _names, ("public",)),
        history_schema=history_schema,
        history_table=history_table,
        lock_key=sources.read("HEADWATER_LOCK_KEY", _lock_key, DEFAULT_LOCK_KEY),
        lock_timeout_ms=sources.read("HEADWATER_LOCK_TIMEOUT", _positive, 2_000),
        wait_lock_ms=sources.read("HEADWATER_WAIT_LOCK", milliseconds, 60_000),
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
    if sources.problems:
        raise SettingsError(
            "the settings cannot be used",
            detail="\n".join(sources.problems),
            hint="docs/settings.md lists every setting and its form",
        )
    return settings


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
        self.problems += [f"{source}: {fault}" for fault in faults_of_url(value)]
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
            if (fault := _fault_of_libpq(name, value))
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
        """Note every HEADWATER_ variable that is no setting: a slip would be silently ignored."""
        known = [variable.name for variable in VARIABLES]
        for place, values in (("the environment", self.environ), (".env", self.dotenv)):
            self.problems += [
                f"{name} in {place} is no setting"
                for name in sorted(values)
                if name.startswith("HEADWATER_") and name not in known
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
            bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8-sig"))))
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f".env cannot be read: {_reason(error)}")
            return {}
        self.problems += [
            f".env line {_first_line(binding.original)} is not of the form NAME=value"
            for binding in bindings
            if binding.error or (binding.key and binding.value is None)
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
                table: Any = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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
                self.problems.append(f"{name}: {key} is no setting (known: {', '.join(known)})")
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


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_text(value: str) -> bool:
    """Say whether a value can be sent: the environment may hold bytes that are no UTF-8."""
    return "\x00" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reason(error: Exception) -> str:
    """Say why a file cannot be read, without quoting it: it may hold a password."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


# --- the forms of single values ---------------------------------------------------------------


def _quoted(text: str) -> str:
    """Quote a value in a message, unless it looks like a URL: that may hold a password."""
    return "a URL" if re.search("://|@|password", text, re.IGNORECASE) else repr(text)


_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min)")
_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000}

# The journal beside the history is called the same with `_steps`; PostgreSQL cuts names at 63.
_MAX_HISTORY_NAME = 63 - len("_steps")

# PostgreSQL keeps timeouts as 32-bit milliseconds.
_MAX_DURATION_MS = 2**31 - 1


def milliseconds(text: str) -> int:
    """Turn `500ms`, `2s`, `1.5 s` or `1 min` into whole milliseconds."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{_quoted(text)} is no duration; write 500ms, 2s or 1min")
    duration = float(match[1]) * _UNITS_MS[match[2]]
    if duration > _MAX_DURATION_MS:
        raise ValueError(f"{_quoted(text)} is longer than PostgreSQL can wait (24 days)")
    return round(duration)


def _positive(text: str) -> int:
    duration = milliseconds(text)
    if duration == 0:
        raise ValueError("0 would wait without end, and hold up everybody behind us; write 2s")
    return duration


def _folder(text: str) -> str:
    if "://" in text or not _is_text(text):
        raise ValueError("a folder is named by its path")
    return text


def _name(text: str) -> str:
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{_quoted(name)} is no plain name (a-z, 0-9 and _, at most 63)")
    if name.startswith("pg_") or name == "information_schema":
        raise ValueError(f"{_quoted(name)} belongs to PostgreSQL")
    return name


def _names(text: str) -> tuple[str, ...]:
    names = tuple(_name(part) for part in text.split(",") if part.strip())
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{_quoted(text)} must name each schema once")
    return names


def _qualified(text: str) -> tuple[str, str]:
    schema, dot, table = text.partition(".")
    if not dot:
        raise ValueError(f"{_quoted(text)} needs its schema, such as public.schema_migrations")
    if len(table.strip()) > _MAX_HISTORY_NAME:
        raise ValueError(f"the name of the table has more than {_MAX_HISTORY_NAME} characters")
    return _name(schema), _name(table)


def _lock_key(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", text.strip()):
        raise ValueError(f"{_quoted(text)} is no whole number")
    # 64 bits never need more than 20 characters; Python refuses to read thousands of digits.
    if len(text.strip()) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{_quoted(text)} does not fit into 64 bits")
    return int(text)


# What every task shows of its target.
_SHOWN = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


def _fault_of_libpq(name: str, value: str) -> str:
    """Say what is wrong with one of libpq's variables: what is shown must hold no password.

    libpq would take a whole URL in PGDATABASE for a name, and connect to the local socket.
    """
    if not _is_text(value):
        return "holds bytes that are no text"
    if name in _SHOWN and "://" in value:
        return "a URL belongs in DATABASE_URL"
    if name == "PGDATABASE" and "=" in value:
        return "a list of parameters is no name"
    return ""


_PERCENT_FAULT = re.compile(r"%(?![0-9a-fA-F]{2})|%00")
_PARAMETER = re.compile(r"[a-z_]+=[^=&]*")
_HOST_PORT = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^\[\]:@/]*)(?::(?P<port>[^:]*))?")


def faults_of_url(url: str) -> list[str]:
    """Say what is wrong with a connection URL, never quoting any part of it.

    libpq's own messages quote the URL with its password, and a reserved character in a password
    silently moves the borders of the parts, so that the rest of it becomes a host or a database:
    the form is therefore checked before libpq sees it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres"):
        return ["must begin with postgresql://"]
    if not _is_text(url) or not _is_utf8(unquote_to_bytes(url)):
        return ["holds bytes that are no text; escapes such as %C3%A9 must be UTF-8"]
    if re.search(r"[\s\x00-\x1f]", url):
        return ["holds a blank or a control character; write a blank as %20"]
    if _PERCENT_FAULT.search(url):
        return ["holds a % that does not begin an escape such as %2F; write a plain % as %25"]
    address, _, parameters = rest.partition("?")
    authority, _, database = address.partition("/")
    _user, _, hosts = authority.rpartition("@")
    faults = []
    if authority.count("@") > 1 or "@" in database + parameters or "/" in database:
        faults.append("has an @, / or ? too many; in a password write %40, %2F and %3F")
    elif any(not _is_host(host) for host in hosts.split(",")):
        faults.append("has no usable host:port behind user and password")
    if any(not _PARAMETER.fullmatch(part) for part in parameters.split("&") if parameters):
        faults.append("has a parameter behind ? that is not of the form name=value")
    return faults


def _is_host(text: str) -> bool:
    match = _HOST_PORT.fullmatch(text)
    if not match:
        return False
    port = match["port"]
    return not port or (re.fullmatch("[0-9]{1,5}", port) is not None and 0 < int(port) < 65_536)
