"""Test databases: migrated by the project's own files, one for each test, in milliseconds."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.testing.databases import Database
    from headwater.testing.lending import drop, find, lend
    from headwater.testing.sweeping import sweep
    from headwater.testing.use import database, server_for_tests

__all__ = [
    "Database",
    "database",
    "drop",
    "find",
    "lend",
    "server_for_tests",
    "sweep",
]

__getattr__ = exporting(
    __name__,
    Database="databases",
    database="use",
    drop="lending",
    find="lending",
    lend="lending",
    server_for_tests="use",
    sweep="sweeping",
)
