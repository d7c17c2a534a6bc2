"""The forms that the values of settings may have: from texts to durations, names, numbers.

A function raises ValueError, or gives what is wrong, in words that stand behind the name of the
setting; a value that may hold a password is never part of them.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes


def _quoted(text: str) -> str:
    """Quote a value in a message, unless it looks like a URL: that may hold a password."""
    return "a URL" if re.search("://|@|password", text, re.IGNORECASE) else repr(text)


def key(text: str) -> str:
    """Quote the name of a setting that there is not, unless it may be something else."""
    return text if re.fullmatch(r"[A-Za-z0-9_.-]+", text) else "a name with other characters"


_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h)")
_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}

# The journal beside the history is called the same with `_steps`; PostgreSQL cuts names at 63.
_MAX_HISTORY_NAME = 63 - len("_steps")

# PostgreSQL keeps timeouts as 32-bit milliseconds.
_MAX_DURATION_MS = 2**31 - 1


def milliseconds(text: str) -> int:
    """Turn `500ms`, `2s`, `1.5 s`, `1 min` or `4h` into whole milliseconds."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{_quoted(text)} is no duration; write 500ms, 2s, 1min or 4h")
    duration = float(match[1]) * _UNITS_MS[match[2]]
    if duration > _MAX_DURATION_MS:
        raise ValueError(f"{_quoted(text)} is longer than PostgreSQL can wait (24 days)")
    return round(duration)


def positive(text: str) -> int:
    """Turn a duration into milliseconds, and refuse one of 0."""
    duration = milliseconds(text)
    if duration == 0:
        raise ValueError("0 would wait without end, and hold up everybody behind us; write 2s")
    return duration


def folder(text: str) -> str:
    """Take a path; whether it is there is looked at when it is read."""
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


def names(text: str) -> tuple[str, ...]:
    """Split a list of names at its commas."""
    names = tuple(_name(part) for part in text.split(",") if part.strip())
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{_quoted(text)} must name each schema once")
    return names


def qualified(text: str) -> tuple[str, str]:
    """Split `schema.table` into its two names."""
    schema, dot, table = text.partition(".")
    if not dot:
        raise ValueError(f"{_quoted(text)} needs its schema, such as public.schema_migrations")
    if len(table.strip()) > _MAX_HISTORY_NAME:
        raise ValueError(f"the name of the table has more than {_MAX_HISTORY_NAME} characters")
    return _name(schema), _name(table)


def role(text: str) -> str:
    """Take the name of a role, which may hold any characters; not one of PostgreSQL's own."""
    name = text.strip()
    if not _is_text(name) or not name.isprintable() or not 0 < len(name.encode()) <= 63:
        raise ValueError("a role is named by at most 63 bytes of text")
    if re.search("://|@.*:|:.*@", name):
        raise ValueError("a URL is no role")
    if name.startswith("pg_") or name in ("none", "public"):
        raise ValueError(f"{_quoted(name)} belongs to PostgreSQL")
    return name


_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")


def context_setting(text: str) -> str:
    """Take the qualified name of settings, in which one `{}` stands for what differs."""
    form = text.strip()
    if form.count("{}") != 1 or not _PARAMETER_NAME.fullmatch(form.replace("{}", "x")):
        raise ValueError(
            f"{_quoted(form)} is no qualified name with one {{}} in it, such as app.current_{{}}_id"
        )
    return form


def lock_key(text: str) -> int:
    """Read a whole number that an advisory lock can have."""
    if not re.fullmatch(r"-?[0-9]+", text.strip()):
        raise ValueError(f"{_quoted(text)} is no whole number")
    # 64 bits never need more than 20 characters; Python refuses to read thousands of digits.
    if len(text.strip()) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{_quoted(text)} does not fit into 64 bits")
    return int(text)


# What every task shows of its target.
_SHOWN = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")

# A URL, or the part of one that holds user and password.
_PART_OF_URL = re.compile("://|:.*@")


def fault_of_libpq(name: str, value: str) -> str:
    """Say what is wrong with one of libpq's variables: what is shown must hold no password.

    libpq would take a whole URL in PGDATABASE for a name, and connect to the local socket.
    """
    if not _is_text(value):
        return "holds bytes that are no text"
    if name in _SHOWN and _PART_OF_URL.search(value):
        return "a URL belongs in DATABASE_URL"
    if name in _SHOWN and "=" in value:
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
        return ["holds bytes that are no text; escapes are UTF-8 (%C3%A9), and a plain % is %25"]
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


def _is_text(value: str) -> bool:
    """Say whether a value can be sent: the environment may hold bytes that are no UTF-8."""
    return "\x00" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
