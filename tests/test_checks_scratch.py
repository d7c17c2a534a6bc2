"""Where a scratch database is made: the first place that is safe and able, or why there is none."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo

from headwater.checks.scratch import Equipment, ScratchServer, lacking, scratch_server
from headwater.errors import PrivateServerError, Unreachable
from headwater.model import Target
from headwater.postgres import server as private_server
from headwater.postgres.connect import connect
from headwater.settings import DatabaseChoice, Settings
from tests.conftest import ROOT
from tests.support import query

PLACE = "name a server in HEADWATER_SCRATCH_URL"


def chosen(target: Target, settings: Settings) -> ScratchServer | str:
    with connect(target, purpose="test") as connection:
        return scratch_server(connection, target, settings)


def not_disposable(target: Target) -> None:
    """Take the mark off a database, and make something in it."""
    query(target, f'comment on database "{target.database}" is null')
    query(target, "create table public.of_somebody ()")


@pytest.fixture
def private(server: Target, settings: Settings) -> Settings:
    """Settings of this checkout, whose private server runs."""
    if not server.private:
        pytest.skip("the tests' databases are not on the private server")
    return replace(settings, root=ROOT)


@contextmanager
def small_role(target: Target) -> Generator[Target]:
    """Make a role that may create no database; give the target as it sees it."""
    role = f"small_{target.database}"
    query(target, f"create role {role} login password 'x'")
    try:
        url = conninfo.make_conninfo(target.conninfo, user=role, password="x")
        yield replace(target, user=role, conninfo=url)
    finally:
        query(target, f"drop role {role}")


def test_the_server_that_is_named_comes_first_and_is_not_ours(
    target: Target, settings: Settings, server: Target
) -> None:
    choice = DatabaseChoice(source="HEADWATER_SCRATCH_URL", url=server.conninfo)
    place = chosen(target, replace(settings, scratch=choice))
    assert isinstance(place, ScratchServer)
    assert not place.ours
    assert place.target.source == "HEADWATER_SCRATCH_URL"
    assert place.target.database == server.database


@pytest.mark.parametrize("ours", [True, False])
def test_a_disposable_target_is_its_own_place(
    target: Target, settings: Settings, ours: bool
) -> None:
    own = replace(target, private=ours)
    assert chosen(own, settings) == ScratchServer(target=own, ours=ours)
    query(target, "create table public.a ()")
    assert chosen(own, settings) == ScratchServer(target=own, ours=ours)


def test_an_empty_target_needs_no_mark(target: Target, settings: Settings) -> None:
    query(target, f'comment on database "{target.database}" is null')
    assert chosen(target, settings) == ScratchServer(target=target, ours=target.private)


def test_what_is_not_disposable_goes_to_the_private_server(
    target: Target, private: Settings
) -> None:
    not_disposable(target)
    theirs = replace(target, private=False)
    place = chosen(theirs, private)
    assert isinstance(place, ScratchServer)
    assert place.ours
    assert place.target.private
    assert place.target != theirs


def test_a_role_that_may_make_no_database_goes_to_the_private_server(
    target: Target, private: Settings
) -> None:
    with small_role(target) as small:
        place = chosen(small, private)
        assert isinstance(place, ScratchServer)
        assert place.ours
        assert place.target.user != small.user
        query(target, f"alter role {small.user} createdb")
        assert chosen(small, private) == ScratchServer(target=small, ours=small.private)


def test_an_extension_that_the_private_server_lacks_is_the_reason(
    target: Target, private: Settings
) -> None:
    not_disposable(target)
    query(target, "update pg_extension set extname = 'unheard_of' where extname = 'plpgsql'")
    assert chosen(target, private) == (
        f"the private server lacks the extension unheard_of; {PLACE}"
    )


def test_a_private_server_that_does_not_start_is_the_reason(
    target: Target, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_disposable(target)
    monkeypatch.setattr(private_server, "start", no_programs)
    reason = chosen(target, settings)
    assert reason == f"there is no PostgreSQL for this system; {PLACE}"


def no_programs(*_: object) -> None:
    raise PrivateServerError("there is no PostgreSQL for this system")


def test_a_newer_postgresql_needs_a_place_of_its_own() -> None:
    no_extensions = frozenset[str]()
    old, new = Equipment(17, no_extensions), Equipment(18, no_extensions)
    assert lacking(new, old) == "the target's PostgreSQL 18 is newer than the private one, 17"
    assert lacking(old, new) == lacking(new, new) == ""


def test_all_missing_extensions_are_named_in_order() -> None:
    needed = Equipment(18, frozenset({"vector", "plpgsql", "age"}))
    assert lacking(needed, Equipment(18, frozenset({"plpgsql"}))) == (
        "the private server lacks the extensions age, vector"
    )


def test_a_target_that_is_gone_is_told_so(target: Target, settings: Settings) -> None:
    with connect(target, purpose="test") as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("select pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(Unreachable, match="looking for a place"):
            scratch_server(connection, target, settings)
