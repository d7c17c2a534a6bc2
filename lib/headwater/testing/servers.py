"""The server of the tests' databases."""

from __future__ import annotations

from headwater.model import Notify, Target, ignore
from headwater.postgres.connect import target_of, with_database
from headwater.postgres.target import private_target
from headwater.settings import Settings


def server_for_tests(settings: Settings, notify: Notify = ignore) -> Target:
    """Give the server of the tests' databases: TEST_DATABASE_URL's, or else the private one.

    Never DATABASE_URL's.
    """
    if settings.test:
        return target_of(settings.test)
    return with_database(private_target(settings, notify), "postgres", "private server")
