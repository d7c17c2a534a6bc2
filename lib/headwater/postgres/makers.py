"""Which process made a database, and whether it is still there.

The name of each database that is made for a while holds its maker, `MACHINE_PID_START`: from the
moment on at which the server knows the database, somebody can tell whose it is. (A comment comes a
statement later, and a process can be killed between the two.)
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import subprocess
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FORM = re.compile(r"(?P<machine>[0-9a-f]{8})_(?P<pid>\d{1,10})_(?P<started>[0-9a-f]{1,12})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """A process: where its number means something, the number, and when it started.

    `started` counts in the system's own unit (0: unknown), so that a number that is used again is
    not taken for the process that had it before.
    """

    machine: str
    pid: int
    started: int

    def __str__(self) -> str:
        """Give the form in which it is part of a name: `0badcafe_4711_1f3a2`."""
        return f"{self.machine}_{self.pid}_{self.started:x}"

    @property
    def is_here(self) -> bool:
        """Say whether it runs, or ran, on this machine since it was booted."""
        return self.machine == _machine_in_short()

    @property
    def has_ended(self) -> bool:
        """Say whether it ran here and runs no more; of other machines nobody can say that."""
        if not self.is_here:
            return False
        now = _state_of(self.pid)
        return now is None or bool(self.started and now and now != self.started)


def maker_in(text: str) -> Maker | None:
    """Read a maker from the form that it has in a name."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    return Maker(
        machine=found["machine"], pid=int(found["pid"]), started=int(found["started"], base=16)
    )


def name_with_maker(prefix: str) -> str:
    """Give a name that nobody else gives: the prefix, this process, and chance."""
    return f"{prefix}{this_process()}_{secrets.token_hex(4)}"


def maker_of_name(name: str, prefix: str) -> Maker | None:
    """Read the maker from a name that `name_with_maker` gave; None for any other name."""
    form, _, chance = name.removeprefix(prefix).rpartition("_")
    if not name.startswith(prefix) or not re.fullmatch(r"[0-9a-f]{8}", chance):
        return None
    return maker_in(form)


def this_process() -> Maker:
    """Give ourselves."""
    return _process(os.getpid())  # a forked child is another


@cache
def _process(pid: int) -> Maker:
    return Maker(machine=_machine_in_short(), pid=pid, started=_state_of(pid) or 0)


def process_here(pid: int) -> Maker | None:
    """Give a process of this machine, or None when there is no such one."""
    state = _state_of(pid)
    if state is None:
        return None
    return Maker(machine=_machine_in_short(), pid=pid, started=state)


def machine() -> str:
    """Tell where a process number means what it means here: machine, boot, and container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts).replace(" ", "_")


@cache
def _machine_in_short() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8]


def _state_of(pid: int) -> int | None:
    """Say when a process started, 0 when nobody can say, None when it does not run.

    One that has ended and that nobody has asked about yet (a zombie) does not run.
    """
    if not _exists(pid):
        return None
    stat = Path(f"/proc/{pid}/stat")
    try:
        # proc_pid_stat(5): behind the name, which may hold anything, field 3 is the state, 22 the
        # start in ticks since the machine's own.
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZXx" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return _state_by_ps(pid) if _exists(pid) else None


def _exists(pid: int) -> bool:
    if pid <= 0:  # kill(2) means groups of processes by that
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _state_by_ps(pid: int) -> int | None:
    """Ask ps, where there is no /proc (macOS)."""
    try:
        asked = ["ps", "-o", "state=", "-o", "lstart=", "-p", str(pid)]
        told = subprocess.run(asked, capture_output=True, check=False).stdout.strip()
    except OSError:
        return 0
    if not told:  # it has ended meanwhile, or is another user's and hidden from us (hidepid)
        return 0 if _exists(pid) else None
    state, _, started = told.partition(b" ")
    return None if state.startswith(b"Z") else zlib.crc32(started.strip())
