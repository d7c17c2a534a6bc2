"""Which database a task works on: the one that is named, or the private server's."""

from __future__ import annotations

from headwater.errors import Unreachable
from headwater.model import Notify, Target, ignore
from headwater.postgres.connect import connect, target_of
from headwater.settings import Settings


def choose_target(settings: Settings, notify: Notify = ignore) -> Target:
    """Give the target of the settings, starting the private server when none is named.

    Raises TargetError (a setting that libpq does not understand) or PrivateServerError.
    """
    if settings.database is not None:
        return target_of(settings.database)
    return private_target(settings, notify)


def private_target(settings: Settings, notify: Notify = ignore) -> Target:
    """Give the private server's database, with the server running.

    A server that was killed leaves files that look alive: it is tried once, cheaply by its files
    and then by a connection, before it is started anew.
    """
    from headwater.postgres import server  # only here: a named target needs none of it

    place = server.server_of(settings.root)
    access = server.running(place)
    if access is None or not _reachable(access.target()):
        access = server.start(place, notify)
    return access.target()


def _reachable(target: Target) -> bool:
    try:
        with connect(target, purpose="start"):
            return True
    except Unreachable:
        return False
