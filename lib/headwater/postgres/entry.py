"""Why a server lets nobody in: from its words to one sentence, and what to type next.

Before a session has begun, libpq hands on the server's words without their SQLSTATE. They are in
the server's language: what is not known here keeps the general advice, with the words as detail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater.model import Target


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal: the server's or libpq's words, what that means, what to type next.

    `{database}`, `{user}` and `{source}` stand for those of the target.
    """

    words: str
    meaning: str
    hint: str


_COME_BACK = "try again when it is up: invoke wait"
_MORE_CONNECTIONS = "try again when some are closed, or raise the limit: "
_OTHER_SERVER = "check that the server runs and that host and port are right"

# The first that fits. (src/backend: utils/init/postinit.c, postmaster, libpq/auth.c, and libpq.)
REFUSALS = (
    Refusal(
        r"cannot connect to invalid database",
        "its DROP DATABASE was interrupted, and it can only be dropped again",
        "drop it and make it anew: dropdb {database}; createdb {database}",
    ),
    Refusal(
        r'database ".*" does not exist',
        "there is no such database",
        "create it: createdb {database}",
    ),
    Refusal(
        r'database ".*" is not currently accepting connections',
        "this database takes no connections",
        "allow them: ALTER DATABASE {database} ALLOW_CONNECTIONS true",
    ),
    Refusal(
        r'permission denied for database ".*"',
        "the role may not connect to this database",
        "grant it: GRANT CONNECT ON DATABASE {database} TO {user}",
    ),
    Refusal(
        r'role ".*" is not permitted to log in',
        "the role may not log in",
        "allow it (ALTER ROLE {user} LOGIN), or name another role in {source}",
    ),
    Refusal(
        r'role ".*" does not exist',
        "the server knows no such role",
        "check the user in {source}, or create the role: createuser {user}",
    ),
    Refusal(
        r"too many connections for role",
        "the role has all the connections it may have",
        _MORE_CONNECTIONS + "ALTER ROLE {user} CONNECTION LIMIT …",
    ),
    Refusal(
        r"too many connections for database",
        "the database has all the connections it may have",
        _MORE_CONNECTIONS + "ALTER DATABASE {database} CONNECTION LIMIT …",
    ),
    Refusal(
        r"too many clients already|remaining connection slots are reserved|max_client_conn",
        "all its connections are taken",
        _MORE_CONNECTIONS + "max_connections",
    ),
    Refusal(r"the database system is shutting down", "the server is shutting down", _COME_BACK),
    Refusal(
        r"Hot standby mode is disabled",
        "it is a standby that answers nobody (hot_standby is off)",
        "name the primary in {source}",
    ),
    Refusal(
        r"the database system is (starting up|in recovery mode|not yet accepting connections)",
        "the server is starting up",
        _COME_BACK,
    ),
    Refusal(
        r"No space left on device",
        "the server's disk is full",
        "make room on the server, then run the same command again",
    ),
    Refusal(
        r"no pg_hba\.conf entry .*no encryption",
        "its pg_hba.conf does not let this role in without TLS",
        "ask for TLS with sslmode=require in {source}, or have pg_hba.conf extended",
    ),
    Refusal(
        r"no pg_hba\.conf entry|pg_hba\.conf rejects connection",
        "its pg_hba.conf does not let this role in from here",
        "have pg_hba.conf extended, or name another role in {source}",
    ),
    Refusal(
        r"server does not support SSL",
        "it has no TLS, and sslmode asks for it",
        "switch TLS on at the server, or change sslmode in {source}",
    ),
    Refusal(
        r"certificate",
        "the TLS certificate is not accepted",
        "check sslmode, sslrootcert, sslcert and sslkey in {source}",
    ),
    Refusal(
        r"session is (not )?read-only|server is (not )?in hot standby",
        "no server of {source} is what target_session_attrs asks for",
        "name the primary in {source}",
    ),
    Refusal(
        r"password|authentication",
        "it does not accept the user with that password",
        "check user and password in {source}",
    ),
    Refusal(
        r"could not translate host name|Name or service not known|nodename nor servname"
        r"|Temporary failure in name resolution|No address associated|failed to resolve host",
        "the name of the host is not known",
        _OTHER_SERVER,
    ),
    Refusal(r"Connection refused|No such file or directory", "nobody listens there", _OTHER_SERVER),
    Refusal(r"timeout expired|timed out", "it did not answer in time", _OTHER_SERVER),
)


def explained(words: str, target: Target) -> tuple[str, str]:
    """Give what a refusal means, as the end of a sentence or empty, and what to type next."""
    for refusal in REFUSALS:
        if re.search(refusal.words, words):
            return _filled(refusal.meaning, target), _filled(refusal.hint, target)
    return "", _OTHER_SERVER


def _filled(text: str, target: Target) -> str:
    return text.format(database=target.database, user=target.user, source=target.source)
