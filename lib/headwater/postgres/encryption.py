"""Whether a connection to another machine is encrypted: libpq falls back to plain text silently."""

from __future__ import annotations

from headwater.model import Notify, Said, Target
from headwater.postgres.connect import Connection


def is_local(connection: Connection) -> bool:
    """Say whether a connection stays on this machine: a socket, or a loopback address."""
    address = connection.pgconn.hostaddr.decode(errors="replace").partition("%")[0]
    if address in ("", "127.0.0.1", "::1"):
        return True
    import ipaddress  # only here: not for those who work on a laptop

    return ipaddress.ip_address(address).is_loopback


def protection(connection: Connection, target: Target) -> str:
    """Say whether a connection to another machine is encrypted; nothing where it stays here."""
    if is_local(connection):
        return ""
    if connection.pgconn.ssl_in_use:
        return f"the connection to {target.host} is encrypted (TLS)"
    return (
        f"WARNING: the connection to {target.host} is not encrypted: who is on the way reads and "
        f"changes what passes; put sslmode=verify-full (or require) into {target.source}"
    )


def warn(connection: Connection, target: Target, notify: Notify) -> None:
    """Tell of a connection to another machine that anybody on the way can read."""
    said = protection(connection, target)
    if said.startswith("WARNING"):
        notify(Said(message=said))
