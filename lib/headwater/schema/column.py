"""A column of a catalogue, as the server declares it."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column of a catalogue as the server declares it (see catalogs.sql)."""

    catalog: str
    shared: bool
    name: str
    type: str
    refers_to: str | None
    column_of: str | None
    key: bool
    readable: bool
    """Whether our role may read it."""
    public: bool
    """Whether every role may."""

    @property
    def path(self) -> str:
        """Give `catalogue.column`."""
        return f"{self.catalog}.{self.name}"
