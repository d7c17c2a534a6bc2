"""A file while its text is judged, statement by statement: what it has made so far, and places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from headwater.checks.rules import Rule
from headwater.files.accepted import Accepted
from headwater.files.grammar import Statement
from headwater.files.locks import Named
from headwater.files.text import Places
from headwater.model import Finding, Severity


@dataclass(slots=True)
class Learnt:
    """What the files that were read before have said of constraints that prove NOT NULL."""

    about: dict[tuple[Named, str], str] = field(default_factory=dict)
    """Table and name of a constraint -> the column that it says is not null, '' for none."""
    proved: set[tuple[Named, str]] = field(default_factory=set)
    """Table and column, once such a constraint was validated."""


class TextFile:
    """One file, its findings as values, and the names that it made.

    What a file made itself is new: nobody waits for it, and it has no rows of production.
    """

    def __init__(self, accepted: Accepted, learnt: Learnt) -> None:
        self.name = f"{accepted.migration.version}.sql"
        self.transactional = accepted.migration.transactional
        self.script = accepted.script
        self.places = Places(accepted.script.text)
        self.learnt = learnt
        self.made: set[Named] = set()
        self._made_names: set[str] = set()
        self.pending: dict[tuple[str, ...], Finding] = {}
        """What is a finding unless a later statement takes it back, by what it is about."""
        self.unvalidated: set[tuple[Named, str]] = set()
        self.validated: set[tuple[Named, str]] = set()
        """Table and name of the constraints that were added NOT VALID, and that were validated."""
        self.checked_domains: set[Named] = set()
        self.enum_values: dict[str, Named] = {}
        """Values that were added to enums which are not new."""
        self.silenced: dict[int, set[str]] = {}
        """Where a statement begins -> the rules of squawk that are wrong about it."""

    def make(self, name: Named) -> None:
        """Note that the file makes something of this name."""
        self.made.add(name)
        self._made_names.add(name.name)

    def forget(self, name: Named) -> None:
        """Note that a name no longer means what the file made."""
        self.made.discard(name)

    def silence(self, statement: Statement, rule: Rule) -> None:
        """Note that squawk is wrong about a statement."""
        self.silenced.setdefault(statement.start, set()).add(rule.id)

    def is_new(self, name: Named) -> bool:
        """Say whether a name means something that the file made; a missing schema may be any."""
        if name.name not in self._made_names:
            return False
        return name in self.made or any(
            name.name == made.name and not (name.schema and made.schema) for made in self.made
        )

    def found(  # noqa: PLR0913 - each is named by its caller
        self,
        rule: Rule,
        statement: Statement,
        *,
        at: int = -1,
        message: str = "",
        about: Named | None = None,
        secret: bool = False,
        severity: Severity | None = None,
    ) -> Finding:
        """Give a finding at a statement, or where `at`, a location in its tree, says.

        Of a `secret` no line is shown.
        """
        start = self.position(statement, at) if at >= 0 else statement.start
        line, column = (
            (statement.line, statement.column) if at < 0 else self.places.of(max(start, 0))
        )
        return rule.finding(
            file=self.name,
            line=line,
            column=column,
            end=self.places.of(statement.start + len(statement.text)),
            source="" if secret else self.places.line(line),
            message=message,
            relation=written(about) if about else "",
            severity=severity,
        )

    def position(self, statement: Statement, location: int) -> int:
        """Turn a location in the tree of a statement into an offset in characters of the file."""
        return self.places.character(statement.origin + location)


def written(name: Named) -> str:
    """Give a name as it is written: `app.t`, or `t`."""
    return f"{name.schema}.{name.name}" if name.schema else name.name


def named(variable: Any) -> Named:
    """Give the name of a relation as a RangeVar of the tree holds it."""
    return Named(variable.schemaname, variable.relname)


def named_by(words: Iterable[Any]) -> Named:
    """Give a name that the tree holds as a list of words."""
    parts = [word.string.sval for word in words]
    return Named(parts[-2] if len(parts) > 1 else "", parts[-1] if parts else "")


def is_temporary(variable: Any) -> bool:
    """Say whether a relation is made for the session alone."""
    return bool(variable.relpersistence == "t")
