"""What seeding, reset, trial, rollback and wait give back, and the locks on tables.

Apart from `model`, which every run loads: defining a dataclass takes a millisecond at import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from headwater.model import MigrationResult, Plan, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """One seed that was run, and what its own statements inserted, updated or deleted."""

    name: str
    duration_ms: int
    rows: int | None = None
    """How many rows; None of a Python seed, whose statements nobody counts."""
    wrote: Mapping[str, int] = field(default_factory=dict)
    """The tables, without their schemas, each with the line that was the first to write to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What seeding did: a result for each seed, in order."""

    results: tuple[SeedResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What a rollback did: a result for each version that was undone, in that order."""

    results: tuple[MigrationResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a reset did. `atomic` says whether one transaction held all of it."""

    results: tuple[MigrationResult, ...]
    schemas: tuple[str, ...]
    atomic: bool
    seeds: tuple[SeedResult, ...] = ()
    """Of the seeds that were run behind the migrations."""


class LockMode(StrEnum):
    """The table-level locks, weakest first (section 13.3.1 of the manual)."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def rank(self) -> int:
        """Give 0 for the weakest, 7 for the strongest."""
        return list(LockMode).index(self)

    @property
    def blocks(self) -> str:
        """Say what other sessions wait for meanwhile."""
        return _BLOCKED[self]

    @property
    def blocks_writes(self) -> bool:
        """Say whether writes, or reads and writes, wait meanwhile."""
        return self.rank >= LockMode.SHARE.rank


_BLOCKED = {
    LockMode.ACCESS_SHARE: "blocks only what needs the table alone, such as ALTER TABLE",
    LockMode.ROW_SHARE: "blocks only what needs the table alone, such as ALTER TABLE",
    LockMode.ROW_EXCLUSIVE: "blocks CREATE INDEX and ALTER TABLE; reads and writes go on",
    LockMode.SHARE_UPDATE_EXCLUSIVE: "blocks VACUUM and ALTER TABLE; reads and writes go on",
    LockMode.SHARE: "blocks writes",
    LockMode.SHARE_ROW_EXCLUSIVE: "blocks writes",
    LockMode.EXCLUSIVE: "blocks writes",
    LockMode.ACCESS_EXCLUSIVE: "blocks reads and writes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLock:
    """A lock on a relation that is there: as the server writes its name."""

    relation: str
    mode: LockMode

    def __str__(self) -> str:
        return f"{self.relation}: {self.mode} ({self.mode.blocks})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a trial ran and rolled back: the plan, each file's result, the locks it held."""

    plan: Plan
    results: tuple[MigrationResult, ...] = ()
    locks: tuple[TableLock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A server that answers: its version as it writes it, and how long it was waited for."""

    target: Target
    server_version: str
    waited_ms: int
