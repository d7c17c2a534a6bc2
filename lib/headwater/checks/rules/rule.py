"""What a rule of lint is: what it is about, why, what to write instead, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from headwater.model import Finding, Layer, Severity

EXAMPLE_SCHEMA: Final = """\
create schema app;
create table app.u (id bigint generated always as identity primary key, name text not null);
create table app.t (
    id bigint generated always as identity primary key,
    a integer,
    b bigint,
    name varchar(100),
    at timestamptz not null default now(),
    u_id bigint
);
create index i on app.t (a);
insert into app.u (name) select 'u' || n from generate_series(1, 10) n;
insert into app.t (a, b, name, u_id) select n, n, 'name ' || n, n from generate_series(1, 10) n;
"""
"""What is there before the examples of every rule, unless it has a `setup` of its own."""


class Claim(StrEnum):
    """What a rule about the text says that a statement does to a table that is there.

    A trace confirms or refutes it; a refuted finding is not shown.
    """

    REWRITE = "rewrite"
    SCAN = "scan"
    """A full scan while writes, or reads and writes, are blocked."""
    INDEX_BUILD = "index build"
    """A new index on a table, while writes are blocked."""
    LOCK = "lock"
    """A lock that blocks writes, or reads and writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `bad` and `good` are whole files, run by the tests behind `EXAMPLE_SCHEMA`.

    `why` is a sentence; `instead` the safe form, without a full stop. `safe` gives another form
    for servers from a major version on: `((18, "…"), (12, "…"))`, newest first; `instead` is for
    those that are older than all of them, or where no version is known.
    """

    id: str
    severity: Severity
    why: str
    instead: str
    bad: str
    good: str
    layer: Layer = Layer.TEXT
    squawk: bool = False
    """True when squawk finds it, under the same name."""
    claim: Claim | None = None
    safe: tuple[tuple[int, str], ...] = ()
    setup: str = ""
    """SQL that is run between `EXAMPLE_SCHEMA` and the examples."""
    lock: str = ""
    """What is locked, in words, for the page of the rule; measured, never guessed."""

    @property
    def page(self) -> str:
        """Give the page that tells of the rule, from the folder of the project."""
        return f"docs/rules/{self.id}.md"

    def instead_on(self, version: int | None) -> str:
        """Give the safe form for a server's major version; None when it is not known."""
        forms = (form for since, form in self.safe if version is not None and version >= since)
        return next(forms, self.instead)

    def finding(  # noqa: PLR0913 - each is named by its caller
        self,
        *,
        file: str,
        line: int = 0,
        column: int = 0,
        end: tuple[int, int] = (0, 0),
        source: str = "",
        message: str = "",
        measured: str = "",
        relation: str = "",
        version: int | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """Give what the rule found: at a place, in words (default: why it matters)."""
        return Finding(
            rule=self.id,
            severity=severity or self.severity,
            message=message or self.why,
            file=file,
            line=line,
            column=column,
            end_line=end[0],
            end_column=end[1],
            source=source,
            hint=self.instead_on(version),
            why=self.why,
            measured=measured,
            page=self.page,
            layer=self.layer,
            relation=relation,
        )


def told(finding: Finding, rule: Rule) -> Finding:
    """Give a finding that says why it matters, what to do, and where to read about its rule."""
    return replace(
        finding,
        hint=finding.hint or rule.instead,
        why=finding.why or rule.why,
        page=finding.page or rule.page,
    )
