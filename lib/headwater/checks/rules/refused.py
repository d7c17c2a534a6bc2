"""What `migrate` itself refuses: always an error, and never allowed."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule
from headwater.model import Severity

REFUSED = (
    Rule(
        id="syntax",
        severity=Severity.ERROR,
        why="PostgreSQL's grammar does not accept it, so migrate does not begin.",
        instead="mend the text at the caret",
        bad="create tabel app.n (i int);",
        good="create table app.n (i bigint);",
    ),
    Rule(
        id="empty",
        severity=Severity.ERROR,
        why="A file without a statement is mostly one that was not saved.",
        instead="write it, or delete the file",
        bad="-- to do\n",
        good="select 1;",
    ),
    Rule(
        id="transaction-control",
        severity=Severity.ERROR,
        why="A COMMIT inside the file ends the transaction that makes it all or nothing.",
        instead="remove it; Headwater begins and commits",
        bad="begin; create table app.n (i bigint); commit;",
        good="create table app.n (i bigint);",
    ),
    Rule(
        id="copy-stdin",
        severity=Severity.ERROR,
        why="Only psql can send its data.",
        instead="write INSERT statements (pg_dump --inserts)",
        bad="copy app.t from stdin;\n1\n2\n\\.\n",
        good="insert into app.t (a) values (1);",
    ),
    Rule(
        id="copy-stdout",
        severity=Severity.ERROR,
        why="Nobody receives the data.",
        instead="remove it",
        bad="copy app.t to stdout;",
        good="select 1;",
    ),
    Rule(
        id="no-transaction",
        severity=Severity.ERROR,
        why="PostgreSQL refuses the statement inside a transaction.",
        instead="give it a file of its own that begins with: -- headwater: no-transaction",
        bad="create index concurrently t_b on app.t (b);",
        good="-- headwater: no-transaction\ncreate index concurrently t_b on app.t (b);",
    ),
    Rule(
        id="concurrently-if-not-exists",
        severity=Severity.ERROR,
        why="The invalid index that a failed CONCURRENTLY leaves would pass for a finished one.",
        instead="remove IF NOT EXISTS",
        bad="-- headwater: no-transaction\n"
        "create index concurrently if not exists t_b on app.t (b);",
        good="-- headwater: no-transaction\ncreate index concurrently t_b on app.t (b);",
    ),
    Rule(
        id="reading-changed",
        severity=Severity.ERROR,
        why="A file without a transaction is sent in parts, which were read before it was set.",
        instead="put it into a file that runs in a transaction",
        bad="-- headwater: no-transaction\nset standard_conforming_strings = off;\nvacuum;",
        good="-- headwater: no-transaction\nset client_encoding = 'UTF8';\nvacuum;",
    ),
    Rule(
        id="directive",
        severity=Severity.ERROR,
        why="A directive that is mistyped or misplaced is only a comment.",
        instead="docs/migration-files.md lists the directives",
        bad="-- headwater: no-transactions\nselect 1;",
        good="-- headwater: lock-timeout 5s\nselect 1;",
    ),
    Rule(
        id="foreign-directive",
        severity=Severity.ERROR,
        why="Another tool's directive is only a comment here.",
        instead="write: -- headwater: no-transaction, or move the undo into VERSION.down.sql",
        bad="-- +goose NO TRANSACTION\nselect 1;",
        good="-- headwater: no-transaction\nvacuum;",
    ),
)
