"""Test databases: migrated by the project's own files, one for each test, in milliseconds.

`__all__` is for tests; the rest is what the tasks call.
"""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.testing.context import MissingContextWarning, as_application
    from headwater.testing.databases import Database
    from headwater.testing.lending import drop_database as drop_database
    from headwater.testing.lending import find_database as find_database
    from headwater.testing.lending import lend_database as lend_database
    from headwater.testing.rows import Row, insert
    from headwater.testing.sweeping import sweep as sweep
    from headwater.testing.use import database

__all__ = ["Database", "MissingContextWarning", "Row", "as_application", "database", "insert"]

__getattr__ = exporting(
    __name__,
    Database="databases",
    MissingContextWarning="context",
    Row="rows",
    as_application="context",
    database="use",
    drop_database="lending",
    find_database="lending",
    insert="rows",
    lend_database="lending",
    sweep="sweeping",
)
