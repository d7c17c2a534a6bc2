"""A port that nobody is to connect to, and that counts who does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Listener:
    """A port of this machine, and how many connections it has seen."""

    port: int
    seen: list[object] = field(default_factory=list)

    def url(self, password: str = "canary") -> str:
        """Give the URL of a database that is said to be there."""
        return f"postgresql://me:{password}@127.0.0.1:{self.port}/app?connect_timeout=5"


@contextmanager
def listening() -> Generator[Listener]:
    """Listen; close whatever comes, at once."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        listener = Listener(port=server.getsockname()[1])

        def count() -> None:
            with suppress(OSError):
                while True:
                    connection, peer = server.accept()
                    listener.seen.append(peer)
                    connection.close()

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)
