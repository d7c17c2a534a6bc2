"""A proxy that knows where a protocol message ends, and breaks the connection at one of them.

Every message that a client sends is counted, over all connections of a run. At the one that it is
armed for it cuts that connection before, in the middle of, or behind it, with or without waiting
for the server's answer, which never arrives; or it forwards nothing any more in either direction
and says nothing about it (a black hole, as a firewall that has forgotten a connection is).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import TracebackType
from typing import Self

from psycopg import conninfo

from headwater.model import Target


class Fault(StrEnum):
    """What happens at the message: `BEFORE` and `HALF` leave the server without it."""

    BEFORE = "cut before"
    HALF = "cut half-way"
    AFTER = "cut behind"
    ANSWERED = "cut behind the answer"
    HOLE = "black hole before"
    HOLE_AFTER = "black hole behind"


HOLES = (Fault.HOLE, Fault.HOLE_AFTER)
CUTS = (Fault.BEFORE, Fault.HALF, Fault.AFTER, Fault.ANSWERED)

# What a client may send instead of the first message: CancelRequest, and the asking for SSL or GSS.
_SPECIAL = {80877102, 80877103, 80877104}


class Proxy:
    """Stands between a client and a server; entered, it listens, left, it closes everything."""

    def __init__(self, target: Target, *, hole_seconds: float = 15) -> None:
        given = conninfo.conninfo_to_dict(target.conninfo)
        self._server = (str(given.get("hostaddr") or given["host"]), int(given["port"] or 5432))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = self._listener.getsockname()[1]
        self.target = replace(
            target,
            port=str(port),
            conninfo=conninfo.make_conninfo(
                target.conninfo,
                host="127.0.0.1",
                port=port,
                sslmode="disable",
                gssencmode="disable",
            ),
        )
        self.hole_seconds = hole_seconds
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._closed = False
        self.arm({})

    def arm(self, faults: Mapping[int, Fault], *, alone: bool = False, commits: int = 0) -> None:
        """Count from now on, and do these faults, each at the message of its number from 1 on.

        `alone`: from the first of them on the server cannot be reached any more. `commits`: the
        COMMIT of this number is message 1. (How many messages come before it is not always the
        same: a statement that takes long is looked after.)
        """
        with self._lock:
            self._commits, self._count = commits, 0
            self.faults, self.alone = dict(faults), alone
            self.messages: list[bytes] = []
            """What the client has sent since."""
            self.refusing = False
            self.broken_at: list[bytes] = []
            """The messages that it broke at."""
            self.had_to_close = False
            """Whether a black hole was left by us, and not by the client."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        # close() alone does not wake the thread that waits in accept()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                _end(client)
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.create_connection(self._server)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(self, client, server)
            self._links.append(link)
            threading.Thread(target=link.to_server, daemon=True).start()
            threading.Thread(target=link.to_client, daemon=True).start()

    def strikes(self, message: bytes) -> Fault | None:
        """Count a message; give the fault when it is the one."""
        with self._lock:
            self.messages.append(message)
            self._commits -= b"COMMIT" in message
            self._count += self._commits <= 0
            fault = self.faults.get(self._count)
            if fault is not None:
                self.broken_at.append(message)
                self.refusing = self.alone
            return fault


class _Link:
    """One connection of a client, and ours to the server for it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.muted = False
        self.gone = threading.Event()
        self.answered = threading.Event()

    def to_server(self) -> None:
        """Forward what the client sends, message by message, until one is the one."""
        head, waiting = 0, b""  # the first message has no byte for its type
        with contextlib.suppress(OSError):
            while data := self.client.recv(1 << 16):
                waiting += data
                while len(waiting) >= head + 4:
                    (length,) = struct.unpack_from("!i", waiting, head)
                    if len(waiting) < head + length:
                        break
                    message, waiting = waiting[: head + length], waiting[head + length :]
                    if head == 0 and struct.unpack_from("!i", message, 4)[0] in _SPECIAL:
                        self.server.sendall(message)
                        continue
                    head = 1
                    if not self._forward(message):
                        return
        if not self.muted:
            self.cut()

    def _forward(self, message: bytes) -> bool:
        fault = self.proxy.strikes(message)
        if fault is None:
            self.server.sendall(message)
            return True
        self.muted = True
        self.answered.clear()
        if fault is Fault.HALF:
            self.server.sendall(message[: len(message) // 2])
        if fault in {Fault.AFTER, Fault.ANSWERED, Fault.HOLE_AFTER}:
            self.server.sendall(message)
        if fault is Fault.ANSWERED:
            # Of the extended protocol only Sync is sure to be answered.
            self.answered.wait(8 if message[:1] in {b"Q", b"S"} else 0.03)
        if fault in HOLES:
            self._swallow()
        self.cut()
        return False

    def _swallow(self) -> None:
        """Take what the client sends to nowhere, until it gives up, or for as long as we wait."""
        ends = time.monotonic() + self.proxy.hole_seconds
        with contextlib.suppress(OSError):
            while (left := ends - time.monotonic()) > 0:
                self.client.settimeout(left)
                if not self.client.recv(1 << 16):
                    return
        if time.monotonic() >= ends:
            self.proxy.had_to_close = True

    def to_client(self) -> None:
        """Forward what the server sends, until nothing may arrive any more."""
        with contextlib.suppress(OSError):
            while data := self.server.recv(1 << 16):
                if self.muted:
                    # ReadyForQuery ends an answer: Z, its length, and one byte.
                    if data[-6:-1] == b"Z\0\0\0\5":
                        self.answered.set()
                else:
                    self.client.sendall(data)
        self.answered.set()
        if not self.muted:
            self.cut()

    def cut(self) -> None:
        """Close both sides."""
        _end(self.client)
        _end(self.server)
        self.gone.set()


def _end(side: socket.socket) -> None:
    # close() alone would not wake a thread that waits in recv().
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
    side.close()
