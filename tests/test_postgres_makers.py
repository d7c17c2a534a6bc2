"""Makers: a database is somebody's while that very process runs, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from headwater.postgres import makers
from headwater.postgres.makers import (
    Maker,
    maker_in,
    maker_of_name,
    name_with_maker,
    process_here,
    this_process,
)
from tests.support import exit_code_of


def sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def running(child: subprocess.Popen[bytes]) -> Maker:
    maker = process_here(child.pid)
    assert maker is not None
    return maker


def ends(maker: Maker) -> bool:
    """Say whether it has ended, or does so in ten seconds."""
    deadline = time.monotonic() + 10
    while not (ended := maker.has_ended) and time.monotonic() < deadline:
        time.sleep(0.01)
    return ended


def test_a_name_tells_its_maker() -> None:
    name = name_with_maker("headwater_test_")
    assert maker_of_name(name, "headwater_test_") == this_process()
    assert len(name) <= 63


def test_names_of_one_maker_differ() -> None:
    assert len({name_with_maker("a_") for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "name",
    [
        "",
        "headwater_test_",
        "headwater_test_mine",
        "headwater_test_0badcafe_12",
        "headwater_test_0badcafe_12_1f_0011223",
        "headwater_test_0BADCAFE_12_1f_00112233",
        "another_0badcafe_12_1f_00112233",
        "headwater_test_0badcafe_12_1f_00112233_more",
        "headwater_test_0badcafe_99999999999_1f_00112233",
    ],
)
def test_a_name_that_somebody_chose_has_no_maker(name: str) -> None:
    assert maker_of_name(name, "headwater_test_") is None


def test_the_form_is_read_back() -> None:
    maker = Maker(machine="0badcafe", pid=4711, started=0x1F3A2)
    assert str(maker) == "0badcafe_4711_1f3a2"
    assert maker_in(str(maker)) == maker


def test_a_running_process_has_not_ended() -> None:
    assert not this_process().has_ended


def test_a_process_has_ended_as_soon_as_it_is_killed_though_nobody_has_waited_for_it() -> None:
    child = sleeping()
    maker = running(child)
    assert not maker.has_ended
    child.send_signal(signal.SIGKILL)
    assert ends(maker)  # a zombie still
    child.wait()
    assert ends(maker)
    assert process_here(child.pid) is None


def test_a_number_that_is_used_again_is_another_process() -> None:
    assert replace(this_process(), started=this_process().started + 1).has_ended


def test_where_the_start_is_unknown_the_number_decides() -> None:
    assert not replace(this_process(), started=0).has_ended


def test_nobody_says_that_a_process_of_another_machine_has_ended() -> None:
    assert not Maker(machine="0" * 8, pid=4_194_305, started=1).has_ended


def test_a_forked_child_is_another_process() -> None:
    before = this_process()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(this_process()).encode())
        finally:
            os._exit(0)
    os.close(write)
    told = maker_in(os.read(read, 100).decode())
    assert exit_code_of(child) == 0
    assert told is not None
    assert told.pid == child
    assert before == this_process()


def test_ps_says_the_same_where_there_is_no_proc() -> None:
    child = sleeping()
    first = makers._state_by_ps(child.pid)
    assert first
    assert makers._state_by_ps(child.pid) == first
    child.kill()
    child.wait()
    assert makers._state_by_ps(child.pid) is None


def test_a_process_that_neither_proc_nor_ps_shows_counts_as_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where /proc is mounted with hidepid=2, and the process is another user's."""
    hidden = subprocess.CompletedProcess(["ps"], 1, stdout=b"")
    monkeypatch.setattr("headwater.postgres.makers.subprocess.run", lambda *_, **__: hidden)
    assert makers._state_by_ps(os.getpid()) == 0
