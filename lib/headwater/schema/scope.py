"""What a snapshot of a database is about, as scope.sql found it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides how the queries look: in which catalogues something is outside, or noted."""

    outside: frozenset[str]
    commented: frozenset[str]
    labelled: frozenset[str]
    bound: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What scope.sql found: which rows are the schema of this database, and what is noted on them.

    Lists of oids stay the text that the server wrote. `commented`, `labelled` and `bound` (to an
    extension) name the catalogues whose objects have such notes; the others need no join.
    """

    database: str
    owner: str
    hidden_schemas: str
    outside: dict[str, str]
    commented: frozenset[str]
    labelled: frozenset[str]
    bound: frozenset[str]

    @property
    def shape(self) -> Shape:
        """Give what the queries are put together by."""
        return Shape(
            outside=frozenset(self.outside),
            commented=self.commented,
            labelled=self.labelled,
            bound=self.bound,
        )

    @property
    def parameters(self) -> dict[str, str]:
        """Give the values of the placeholders that the queries use."""
        lists = {f"outside_{catalog}": oids for catalog, oids in self.outside.items()}
        return {
            "database": self.database,
            "owner": self.owner,
            "hidden": self.hidden_schemas,
            **lists,
        }
