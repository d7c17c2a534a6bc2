"""Differences that another difference makes necessary: they are not told a second time.

A dropped column takes its default with it, a constraint its index, a type its storage. Each rule
says what tells and what is told; whatever no rule names is reported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from headwater.schema.catalog import KIND, PARENT, Row, relation_of
from headwater.verdicts import Change, ChangeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Everything that differs: whole objects by identity, attributes, and the rows behind them.

    `version` is the older one of the two servers.
    """

    missing: AbstractSet[str]
    extra: AbstractSet[str]
    changed: Mapping[str, list[Change]]
    rows: Mapping[str, Row]
    version: int

    def has_changed(self, identity: str, attribute: str) -> bool:
        """Say whether an attribute of an object is among the differences."""
        return any(change.attribute == attribute for change in self.changed.get(identity, ()))


_TOLD_BY: Final[dict[str, dict[str, frozenset[str]]]] = {
    "pg_attribute": {
        "atttypid": frozenset({"attstorage", "attcollation"}),
    },
    "pg_constraint": {
        "definition": frozenset(
            {
                "contype",
                "condeferrable",
                "condeferred",
                "conenforced",
                "convalidated",
                "conindid",
                "confrelid",
                "confupdtype",
                "confdeltype",
                "confmatchtype",
                "connoinherit",
                "conperiod",
            }
        ),
    },
    "pg_index": {
        "definition": frozenset(
            {
                "indnkeyatts",
                "indisunique",
                "indnullsnotdistinct",
                "indcollation",
                "indoption",
            }
        ),
    },
    "pg_partitioned_table": {
        "partition key": frozenset({"partstrat", "partclass", "partcollation"}),
    },
    "pg_proc": {
        # A function that returns a set has an estimate of its rows.
        "proretset": frozenset({"prorows"}),
    },
    "pg_rewrite": {"definition": frozenset({"is_instead"})},
    "pg_statistic_ext": {"definition": frozenset({"stxkind"})},
    "pg_trigger": {
        "definition": frozenset(
            {
                "tgfoid",
                "tgtype",
                "tgconstrrelid",
                "tgdeferrable",
                "tginitdeferred",
                "tgnargs",
                "tgoldtable",
                "tgnewtable",
            }
        ),
    },
}
"""Catalogue -> what tells -> what it tells, in the columns of one row."""

_INDEX_ALSO: Final = frozenset({"options", "access method"})
NOT_NULL_CONSTRAINTS: Final = 18
_INHERITED: Final = frozenset({"defined here", "number of parents that have it"})


def tells(catalog: str, differing: Collection[str]) -> frozenset[str]:
    """Give the columns of a row that other columns which differ tell already."""
    rules = _TOLD_BY.get(catalog, {})
    return frozenset().union(*(told for column, told in rules.items() if column in differing))


def without_echoes(found: Differences) -> Iterator[Change]:
    """Give the differences that stand for themselves."""
    yield from _whole(found.missing, ChangeKind.MISSING, found)
    yield from _whole(found.extra, ChangeKind.EXTRA, found)
    for changes in found.changed.values():
        yield from (change for change in changes if not _is_echo(change, found))


def _whole(identities: AbstractSet[str], kind: ChangeKind, found: Differences) -> Iterator[Change]:
    for identity in identities:
        row = found.rows[identity]
        if not (
            row[PARENT] in identities
            or _constraint_of(identity, row) in identities
            or _is_told_by_column(row, found)
            or _is_told_by_view(row, found)
        ):
            yield Change(object=identity, change=kind)


def _is_echo(change: Change, found: Differences) -> bool:
    """Say whether the change of an attribute follows from another difference."""
    row = found.rows[change.object]
    if row[KIND] == "index":
        constraint = _constraint_of(change.object, row)
        return (
            change.attribute == "definition" and found.has_changed(constraint, "definition")
        ) or (change.attribute in _INDEX_ALSO and found.has_changed(change.object, "definition"))
    if change.attribute in _INHERITED:
        return _has_other_parents(row, found)
    return change.attribute == "type" and _is_told_by_view(row, found)


_QUALIFIED: Final = re.compile(r'((?:"(?:[^"]|"")*"|[^."]+)\.)(.+)')


def _constraint_of(identity: str, row: Row) -> str:
    """Name the constraint that an index would belong to: the two always share a name."""
    name = _QUALIFIED.fullmatch(identity.removeprefix("index "))
    return f"constraint {name[2]} on {relation_of(row)}" if row[KIND] == "index" and name else ""


def _is_told_by_column(row: Row, found: Differences) -> bool:
    """Say whether a not-null constraint says no more than its column does.

    Tables have such constraints since PostgreSQL 18, domains since 17.
    """
    if row[KIND] != "not-null constraint":
        return False
    older = found.version < NOT_NULL_CONSTRAINTS
    return older or found.has_changed(str(row[PARENT]), "not null")


def _is_told_by_view(row: Row, found: Differences) -> bool:
    """Say whether a column is one of a view whose definition differs."""
    parent = str(row[PARENT])
    is_view = parent.startswith(("view ", "materialized view "))
    return row[KIND] == "column" and is_view and found.has_changed(parent, "definition")


def _has_other_parents(row: Row, found: Differences) -> bool:
    """Say whether the table of a column or constraint inherits from other tables."""
    ours = f"inheritance of {relation_of(row)} from "
    return any(other.startswith(ours) for other in (*found.missing, *found.extra))
