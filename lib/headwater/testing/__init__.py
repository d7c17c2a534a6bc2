"""Test databases: migrated by the project's own files, one for each test, in milliseconds."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.testing.context import MissingContextWarning, as_application
    from headwater.testing.databases import Database
    from headwater.testing.lending import drop, find, lend
    from headwater.testing.rows import Row, insert
    from headwater.testing.sweeping import sweep
    from headwater.testing.use import database, server_for_tests

__all__ = [
    "Database",
    "MissingContextWarning",
    "Row",
    "as_application",
    "database",
    "drop",
    "find",
    "insert",
    "lend",
    "server_for_tests",
    "sweep",
]

__getattr__ = exporting(
    __name__,
    Database="databases",
    MissingContextWarning="context",
    Row="rows",
    as_application="context",
    database="use",
    drop="lending",
    find="lending",
    insert="rows",
    lend="lending",
    server_for_tests="use",
    sweep="sweeping",
)
