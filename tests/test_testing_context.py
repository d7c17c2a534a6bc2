"""Being the application for a block: what is set, what is put back, and who is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, InvalidTextRepresentation
from psycopg.rows import dict_row

from headwater.errors import HeadwaterError, SettingsError, TargetError
from headwater.testing.context import MissingContextWarning, as_application
from tests.support import write_files

Connection = psycopg.Connection[Any]
FreshDatabase = Callable[..., AbstractContextManager[str]]

OURS, THEIRS = UUID(int=1), UUID(int=2)


def unread() -> AbstractContextManager[Any]:
    """Require the warning that no policy asks for settings of the form that is named."""
    return pytest.warns(MissingContextWarning, match="nor any setting of the form tenancy")


OWNER = "none"

# A small schema of tenants. Roles belong to the server, and others may make the first one as well.
SCHEMA = f"""
do $$ begin
    create role app_rls nologin nobypassrls;
exception when duplicate_object or unique_violation then null; end $$;
create table notes (id int generated always as identity, organization_id uuid, project_id uuid,
    text text default '');
alter table notes enable row level security;
create function current_organization() returns uuid stable language sql
    return nullif(current_setting('app.current_organization_id', true), '')::uuid;
create policy tenant on notes to app_rls
    using (
        organization_id = (select current_organization())
        and (nullif(current_setting('app.current_project_id', true), '') is null
            or project_id::text = current_setting('app.current_project_id', true))
    );
grant select, insert, update, delete on notes to app_rls;
insert into notes (organization_id, text) values ('{OURS}', 'ours'), ('{THEIRS}', 'theirs');
"""


@pytest.fixture(scope="module")
def url(fresh_database: FreshDatabase) -> Generator[str]:
    with fresh_database() as url:
        with psycopg.connect(url) as owner:
            owner.execute(SCHEMA.encode())
        yield url


@pytest.fixture
def connection(url: str) -> Generator[Connection]:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        yield connection


@pytest.fixture
def transactional(url: str) -> Generator[Connection]:
    with closing(psycopg.connect(url)) as connection:
        yield connection


@pytest.fixture(params=["autocommit", "autocommit in a transaction", "idle", "in a transaction"])
def any_connection(url: str, request: pytest.FixtureRequest) -> Generator[Connection]:
    """A connection in each of the states in which a block may begin."""
    with closing(psycopg.connect(url, autocommit=request.param.startswith("auto"))) as connection:
        if "transaction" in request.param:
            with connection.transaction(force_rollback=True):
                yield connection
        else:
            yield connection


def state(connection: Connection) -> tuple[str, str, str]:
    """Give role, organization and project as they are now; an idle connection stays idle."""
    idle = connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    row = connection.execute(
        "select current_setting('role'), coalesce(current_setting('app.current_organization_id', "
        "true), ''), coalesce(current_setting('app.current_project_id', true), '')"
    ).fetchone()
    if idle and not connection.autocommit:
        connection.rollback()
    assert row
    return row  # type: ignore[no-any-return]


def texts(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("select text from notes")}


# What is set


def test_a_block_is_the_application_for_an_organization(any_connection: Connection) -> None:
    with as_application(any_connection, organization=OURS) as given:
        assert given is any_connection
        assert state(any_connection) == ("app_rls", str(OURS), "")
        assert texts(any_connection) == {"ours"}
    assert state(any_connection) == (OWNER, "", "")
    assert texts(any_connection) >= {"ours", "theirs"}


def test_an_id_may_be_given_in_several_forms(connection: Connection) -> None:
    class Thing:
        id = OURS

    for form in (OURS, str(OURS), Thing(), {"id": OURS}):
        with as_application(connection, organization=form):
            assert state(connection)[1] == str(OURS)
    with as_application(connection, organization=OURS, project=None):
        assert state(connection) == ("app_rls", str(OURS), "")
    with as_application(connection, setting="app.current_{}_id", organization=7):
        assert state(connection)[1] == "7"


@pytest.mark.parametrize("value", [3.5, object(), {"name": "n"}, {"id": None}, True, {"id": False}])
def test_what_has_no_id_is_no_context(connection: Connection, value: object) -> None:
    with (
        pytest.raises(TypeError, match="organization is neither an id nor"),
        as_application(connection, organization=value),
    ):
        pass
    assert state(connection) == (OWNER, "", "")


@pytest.mark.parametrize("value", ["", {"id": ""}])
def test_an_empty_text_is_not_none_on_purpose(connection: Connection, value: object) -> None:
    with (
        pytest.raises(ValueError, match=r"write organization=None where there is none on purpose"),
        as_application(connection, organization=value),
    ):
        pass
    assert state(connection) == (OWNER, "", "")


def test_a_project_may_have_another_role_and_other_settings(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the project in whose folder the process works; what the call says still wins."""
    project, nowhere = tmp_path / "project", tmp_path / "nowhere"
    (project / "below").mkdir(parents=True)
    nowhere.mkdir()
    write_files(
        project,
        {"headwater.toml": "application_role = 'pg monitor'\napplication_setting = 'tenancy.{}'\n"},
    )
    monkeypatch.chdir(project / "below")
    with (
        pytest.raises(TargetError, match="role pg monitor does not exist"),
        as_application(connection, organization=OURS),
    ):
        pass
    with unread(), as_application(connection, role="pg_monitor", organization=OURS):
        row = connection.execute("select current_user, current_setting('tenancy.organization')")
        assert row.fetchone() == ("pg_monitor", str(OURS))
    with as_application(connection, role="app_rls", setting="app.current_{}_id", organization=OURS):
        assert texts(connection) == {"ours"}
    monkeypatch.setenv("HEADWATER_APPLICATION_ROLE", "app_rls")
    with unread(), as_application(connection, organization=OURS):
        assert state(connection)[0] == "app_rls"
    monkeypatch.delenv("HEADWATER_APPLICATION_ROLE")
    monkeypatch.chdir(nowhere)
    with as_application(connection, organization=OURS):
        assert state(connection) == ("app_rls", str(OURS), "")


def test_a_project_whose_settings_cannot_be_used_is_told(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"headwater.toml": "application_setting = 'tenant'\n"})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as caught, as_application(connection, organization=OURS):
        pass
    assert "application_setting in headwater.toml" in caught.value.detail


def test_role_and_settings_may_have_other_names(connection: Connection) -> None:
    with (
        unread(),
        as_application(
            connection, role="pg_monitor", setting="tenancy.{}", organization=OURS
        ) as given,
    ):
        row = given.execute("select current_user, current_setting('tenancy.organization')")
        assert row.fetchone() == ("pg_monitor", str(OURS))
    with (
        pytest.raises(ValueError, match=r"'app\.tenant' is no qualified name with one \{\} in it"),
        as_application(connection, setting="app.tenant", organization=OURS),
    ):
        pass


# What is put back


def test_what_was_set_before_is_there_again(any_connection: Connection) -> None:
    any_connection.execute(
        "select set_config('app.current_organization_id', %s, false), "
        "set_config('app.current_project_id', 'p', false), set_config('role', 'pg_monitor', false)",
        [str(THEIRS)],
    )
    before = ("pg_monitor", str(THEIRS), "p")
    assert state(any_connection) == before
    with as_application(any_connection, organization=OURS):
        assert state(any_connection) == ("app_rls", str(OURS), "")
    assert state(any_connection) == before


def test_the_innermost_block_wins_and_the_outer_one_is_back_behind_it(
    any_connection: Connection,
) -> None:
    with as_application(any_connection, organization=OURS, project=THEIRS):
        outer = state(any_connection)
        with as_application(any_connection, organization=THEIRS):
            assert state(any_connection) == ("app_rls", str(THEIRS), "")
            with as_application(any_connection):
                assert state(any_connection) == ("app_rls", "", "")
        assert state(any_connection) == outer
    assert state(any_connection) == (OWNER, "", "")


def test_a_block_that_raises_puts_back_as_well(any_connection: Connection) -> None:
    mine = uuid4()
    with pytest.raises(KeyError), as_application(any_connection, organization=mine):  # noqa: PT012
        any_connection.execute("insert into notes (organization_id) values (%s)", [mine])
        raise KeyError
    assert state(any_connection) == (OWNER, "", "")


def test_a_block_whose_statement_failed_puts_back_as_well(any_connection: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable), as_application(any_connection):
        any_connection.execute("select from nowhere")
    assert state(any_connection) == (OWNER, "", "")
    with (
        as_application(any_connection, organization=OURS),
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        any_connection.execute("select from nowhere")
    assert state(any_connection) == (OWNER, "", "")


def test_a_connection_that_is_lost_in_the_block_is_only_lost(any_connection: Connection) -> None:
    with as_application(any_connection, organization=OURS):
        any_connection.close()
    assert any_connection.closed


def test_the_first_error_wins_when_the_server_is_gone(any_connection: Connection, url: str) -> None:
    with (  # noqa: PT012
        pytest.raises(KeyError) as caught,
        as_application(any_connection, organization=OURS),
        psycopg.connect(url, autocommit=True) as killer,
    ):
        killer.execute("select pg_terminate_backend(%s, 5000)", [any_connection.info.backend_pid])
        raise KeyError
    assert any_connection.closed or "could not set back" in caught.value.__notes__[0]


# Transactions


def test_on_an_idle_connection_the_block_may_commit_and_roll_back(
    transactional: Connection,
) -> None:
    """The rights are the session's: they outlast each transaction, and go with the block."""
    with as_application(transactional, organization=OURS):
        for end in (transactional.commit, transactional.rollback, transactional.commit):
            assert texts(transactional) == {"ours"}
            end()
            assert state(transactional)[0] == "app_rls"
    transactional.rollback()
    assert state(transactional) == (OWNER, "", "")
    assert not transactional.autocommit


def test_on_an_idle_connection_what_is_open_at_the_end_is_committed(
    transactional: Connection,
) -> None:
    add, mine = "insert into notes (organization_id, text) values (%s, %s)", uuid4()
    with as_application(transactional, organization=mine):
        transactional.execute(add, [mine, "kept"])
    with pytest.raises(KeyError), as_application(transactional, organization=mine):  # noqa: PT012
        transactional.execute(add, [mine, "not kept"])
        raise KeyError
    transactional.rollback()
    assert texts(transactional) >= {"kept"}
    assert texts(transactional) & {"not kept"} == set()
    assert state(transactional) == (OWNER, "", "")


def test_in_a_transaction_the_block_is_a_savepoint(connection: Connection) -> None:
    add = "insert into notes (organization_id, text) values (%s, %s)"
    with connection.transaction(force_rollback=True):
        with as_application(connection, organization=OURS):
            connection.execute(add, [OURS, "kept"])
        with (  # noqa: PT012
            pytest.raises(InsufficientPrivilege),
            as_application(connection, organization=OURS),
        ):
            connection.execute(add, [OURS, "undone"])
            connection.execute(add, [THEIRS, "refused"])
        assert texts(connection) >= {"kept", "theirs"}
        assert "undone" not in texts(connection)
    assert state(connection) == (OWNER, "", "")


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_transaction_around_a_block_is_not_ended_in_it(
    transactional: Connection, end: str
) -> None:
    transactional.execute("select")
    with (
        pytest.raises(psycopg.ProgrammingError, match="forbidden") as caught,
        as_application(transactional, organization=OURS),
    ):
        getattr(transactional, end)()
    assert "commit or roll back before the block" in caught.value.__notes__[0]
    transactional.rollback()
    assert state(transactional) == (OWNER, "", "")


@pytest.mark.parametrize("end", ["commit", "rollback", "commit; begin", "rollback; begin"])
def test_a_transaction_that_is_ended_in_sql_is_noticed(url: str, end: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("begin")
        with (
            pytest.raises(HeadwaterError, match="was not in force for all of its block") as caught,
            as_application(connection, organization=OURS),
        ):
            connection.execute(end.encode())
        assert "had other rights" in caught.value.__notes__[0]
        connection.rollback()
        assert state(connection) == (OWNER, "", "")


def test_an_inner_block_of_the_same_role_notices_the_end_of_its_transaction(
    connection: Connection,
) -> None:
    """The role is the outer block's then, and so is the organization."""
    with as_application(connection, organization=OURS):
        connection.execute("begin")
        with (
            pytest.raises(HeadwaterError, match="the transaction in which it began was ended"),
            as_application(connection, organization=THEIRS),
        ):
            connection.execute("commit")
        assert state(connection) == ("app_rls", str(OURS), "")


@pytest.mark.parametrize("change", ["reset role", "set role pg_monitor", "discard all"])
def test_a_block_that_is_left_under_another_role_is_an_error(
    connection: Connection, change: str
) -> None:
    with (
        pytest.raises(HeadwaterError, match="at its end the role was not app_rls but"),
        as_application(connection, organization=OURS),
    ):
        connection.execute(change.encode())
    assert state(connection) == (OWNER, "", "")


@pytest.mark.parametrize("change", ["reset all", "set app.current_organization_id = ''"])
def test_a_block_whose_context_was_emptied_is_an_error(connection: Connection, change: str) -> None:
    """There are no rows from then on, and a test of isolation passes."""
    with (
        pytest.raises(HeadwaterError, match=r"app\.current_organization_id was empty"),
        as_application(connection, organization=OURS),
    ):
        connection.execute(change.encode())
    assert state(connection) == (OWNER, "", "")


def test_a_block_cannot_begin_where_nothing_can_be_set(
    connection: Connection, transactional: Connection
) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        transactional.execute("select from nowhere")
    with pytest.raises(TargetError, match="aborted"), as_application(transactional):
        pass
    nothing: Any = "a url"
    with pytest.raises(TypeError, match="as_application takes a"), as_application(nothing):
        pass
    with (
        connection.pipeline(),
        pytest.raises(TargetError, match="inside a pipeline"),
        as_application(connection),
    ):
        pass
    with (
        connection.cursor() as cursor,
        cursor.copy("copy notes to stdout"),
        pytest.raises(TargetError, match="busy"),
        as_application(connection),
    ):
        pass


# Which roles


def test_a_role_that_is_not_there_is_an_error_that_says_what_to_do(
    any_connection: Connection,
) -> None:
    with (
        pytest.raises(TargetError, match="role nobody_there does not exist") as caught,
        as_application(any_connection, role="nobody_there", organization=OURS),
    ):
        pass
    assert "create it in a migration" in caught.value.hint
    assert state(any_connection) == (OWNER, "", "")


@pytest.fixture
def role(connection: Connection) -> Generator[str]:
    """A role that nobody else has, to be given what a test is about."""
    name = f"headwater_test_{uuid4().hex[:12]}"
    connection.execute(sql.SQL("create role {} login password 'x'").format(sql.Identifier(name)))
    yield name
    connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("right", ["superuser", "bypassrls"])
def test_a_role_that_row_security_does_not_bind_is_refused(
    connection: Connection, role: str, right: str
) -> None:
    connection.execute(f"alter role {role} {right}".encode())
    with (
        pytest.raises(TargetError, match="bypasses row security: a test under it would prove") as e,
        as_application(connection, role=role, organization=OURS),
    ):
        pass
    assert "NOSUPERUSER NOBYPASSRLS" in e.value.__notes__[0]


def test_a_role_that_owns_tables_with_row_security_is_refused(
    connection: Connection, role: str
) -> None:
    """Unless the tables bind their owner as well."""
    connection.execute(f"grant create on schema public to {role}".encode())
    with as_application(connection, role=role, organization=OURS):
        connection.execute("create table owned ()")
        connection.execute("alter table owned enable row level security")
    with (
        pytest.raises(TargetError, match="owns owned, and so sees all of its rows"),
        as_application(connection, role=role, organization=OURS),
    ):
        pass
    connection.execute("alter table owned force row level security")
    with as_application(connection, role=role, organization=OURS):
        pass


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_login_that_may_not_take_the_role_is_told_so(
    url: str, role: str, autocommit: bool
) -> None:
    login = psycopg.conninfo.make_conninfo(url, user=role, password="x")
    with closing(psycopg.connect(login, autocommit=autocommit)) as connection:
        for _ in range(2):  # idle, and then in a transaction where there is one
            with (
                pytest.raises(TargetError, match=f"{role} may not act as app_rls") as caught,
                as_application(connection, organization=OURS),
            ):
                pass
            assert caught.value.hint.startswith(f"GRANT app_rls TO {role}")
            assert state(connection) == (OWNER, "", "")
            connection.execute("select")


# A context that is missing


def told(recorded: list[warnings.WarningMessage]) -> str:
    [warning] = [each for each in recorded if each.category is MissingContextWarning]
    assert warning.filename == __file__, "told at another line than the caller's"
    return str(warning.message)


STATEMENTS = [
    "select * from notes",
    "update notes set text = ''",
    "delete from notes",
    "select count(*) from notes",
    "select exists (select from notes)",
    "select max(id), min(text) from notes",
    "select coalesce(json_agg(text), '[]') from notes",
    "select coalesce(sum(id), 0)::numeric(10, 2) from notes",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_that_finds_nothing_without_a_context_is_told_why(
    any_connection: Connection, statement: str
) -> None:
    with pytest.warns(MissingContextWarning) as recorded, as_application(any_connection):  # noqa: PT031
        any_connection.execute(statement.encode())
        any_connection.execute(statement.encode())  # once a block is enough
    text = told(recorded.list)
    assert "acts as app_rls without any context" in text
    assert "as_application(connection, organization=..., project=...)" in text
    assert "organization=None where that is the point" in text


def test_each_way_to_run_a_statement_is_looked_at(transactional: Connection) -> None:
    transactional.row_factory = dict_row

    def stream() -> None:
        with transactional.cursor() as cursor:
            assert list(cursor.stream("select * from notes")) == []

    def many() -> None:
        with transactional.cursor() as cursor:
            cursor.executemany("delete from notes where id = %s", [(1,), (2,)])

    def copy() -> None:
        with transactional.cursor() as cursor, cursor.copy("copy notes to stdout") as copy:
            assert list(copy) == []

    def pipeline() -> None:
        with transactional.pipeline(), transactional.cursor() as cursor:
            assert cursor.execute("select count(*) as n from notes").fetchone() == {"n": 0}

    def on_the_server(fetch: str) -> None:
        with transactional.cursor("named") as cursor:
            cursor.execute("select * from notes")
            assert not getattr(cursor, fetch)()

    def loop() -> None:
        with transactional.cursor("named") as cursor:
            assert [*cursor.execute("select * from notes")] == []

    ways: list[Callable[[], None]] = [stream, many, copy, pipeline, loop]
    ways += [lambda f=f: on_the_server(f) for f in ("fetchone", "fetchmany", "fetchall")]  # type: ignore[misc]
    for way in ways:
        with pytest.warns(MissingContextWarning) as recorded, as_application(transactional):
            way()
        told(recorded.list)
    assert transactional.cursor_factory is psycopg.Cursor
    assert transactional.server_cursor_factory is psycopg.ServerCursor


def test_a_factory_of_ones_own_goes_on_working(connection: Connection) -> None:
    class Mine(psycopg.Cursor[Any]):
        pass

    def made(*args: Any, **kwargs: Any) -> Mine:
        return Mine(*args, **kwargs)

    for factory in (Mine, made, psycopg.ClientCursor):
        connection.cursor_factory = factory  # type: ignore[assignment]
        with pytest.warns(MissingContextWarning), as_application(connection):  # noqa: PT031
            cursor = connection.execute("select %s from notes", ["x"])
            assert isinstance(cursor, Mine | psycopg.ClientCursor)
            assert cursor.description
        assert connection.cursor_factory is factory


def test_what_is_found_or_needs_no_rows_is_not_told(any_connection: Connection) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with as_application(any_connection):
            any_connection.execute("select 1, null")
            any_connection.execute("set local work_mem = '4MB'")
            any_connection.execute("create temp table if not exists mine ()")


def test_who_says_that_there_is_none_is_not_told(any_connection: Connection) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with as_application(any_connection, organization=None):
            assert texts(any_connection) == set()
        with as_application(any_connection):
            before = any_connection.cursor()
            with as_application(any_connection, organization=uuid4()):
                assert texts(any_connection) == set()
                before.execute("select text from notes")
        before.execute("select text from notes where false")


def test_with_warnings_as_errors_the_test_stops_at_the_statement(connection: Connection) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MissingContextWarning), as_application(connection):
            connection.execute("select from notes")
    assert state(connection) == (OWNER, "", "")


def test_a_row_that_is_refused_without_a_context_has_a_note(any_connection: Connection) -> None:
    add = "insert into notes (organization_id) values (%s)"
    with pytest.raises(InsufficientPrivilege) as caught, as_application(any_connection):
        any_connection.execute(add, [OURS])
    assert "a row was refused: this block acts as app_rls without any" in caught.value.__notes__[0]
    with (
        pytest.raises(InsufficientPrivilege) as caught,
        as_application(any_connection, organization=THEIRS),
    ):
        any_connection.execute(add, [OURS])
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(InsufficientPrivilege) as caught, as_application(any_connection):
        any_connection.execute("truncate notes")
    assert not hasattr(caught.value, "__notes__"), "no context would give this right"


def test_a_keyword_that_nothing_reads_is_told(connection: Connection) -> None:
    """A slip in it hides all rows as well."""
    with (
        pytest.warns(
            MissingContextWarning, match=r"reads app\.current_organisation_id; .*organization"
        ),
        as_application(connection, organisation=OURS),
    ):
        pass


def test_a_form_that_nothing_reads_is_told_with_where_to_name_it(connection: Connection) -> None:
    with (
        pytest.warns(MissingContextWarning, match=r"app\.tenant_ours; nor .*_SETTING, or") as told,
        as_application(connection, setting="app.tenant_{}", ours=OURS),
    ):
        assert texts(connection) == set()
    assert len(told) == 1
    with connection.transaction(force_rollback=True):
        connection.execute("drop policy tenant on notes")
        connection.execute("drop function current_organization")
        with as_application(connection, setting="app.tenant_{}", ours=OURS):
            pass  # where no policy asks for anything, nothing is hidden


def test_a_policy_that_casts_what_is_empty_is_explained(connection: Connection) -> None:
    cast = "current_setting('app.current_hasty_id', true)::uuid = organization_id"
    with connection.transaction(force_rollback=True):
        connection.execute(f"create policy hasty on notes to app_rls using ({cast})".encode())
        with (
            pytest.raises(InvalidTextRepresentation) as caught,
            as_application(connection, organization=None),
        ):
            texts(connection)
        assert "write nullif(current_setting('...', true), '')" in caught.value.__notes__[0]
    with (
        pytest.raises(InvalidTextRepresentation) as caught,
        as_application(connection, organization=None),
    ):
        connection.execute("select 'x'::uuid")
    assert not hasattr(caught.value, "__notes__")


# A connection that is left busy


def leave_a_stream(connection: Connection) -> object:
    rows = connection.cursor().stream("select generate_series(1, 1000)")
    next(rows)
    return rows


def leave_a_copy(connection: Connection) -> object:
    copy = connection.cursor().copy("copy (select generate_series(1, 1000)) to stdout")
    copy.__enter__()
    return copy


@pytest.mark.parametrize("leave", [leave_a_stream, leave_a_copy])
def test_a_connection_that_a_block_leaves_busy_is_closed_and_told(
    any_connection: Connection, leave: Callable[[Connection], object]
) -> None:
    """To set anything back would wait for ever."""
    with (
        pytest.raises(HeadwaterError, match="busy with a stream, a COPY or notifies: it is closed"),
        as_application(any_connection, organization=OURS),
    ):
        left = leave(any_connection)
    assert any_connection.closed
    del left


def test_an_error_in_a_block_that_leaves_its_connection_busy_stays_the_error(
    any_connection: Connection,
) -> None:
    with (  # noqa: PT012 - what is left is a part of it
        pytest.raises(ZeroDivisionError) as caught,
        as_application(any_connection, organization=OURS),
    ):
        rows = leave_a_stream(any_connection)
        raise ZeroDivisionError
    assert "it is closed" in caught.value.__notes__[0]
    assert any_connection.closed
    del rows


def test_a_rollback_in_a_block_is_that_of_the_transaction_around_it(
    connection: Connection,
) -> None:
    with connection.transaction():
        connection.execute("insert into notes (text) values ('to be rolled back')")
        with as_application(connection, organization=OURS):
            roll_back()
    assert "to be rolled back" not in texts(connection)


def roll_back() -> None:
    raise psycopg.Rollback


def test_a_function_that_gives_nothing_has_found_nothing_out(connection: Connection) -> None:
    with warnings.catch_warnings(), as_application(connection):
        warnings.simplefilter("error")
        connection.execute("select pg_notify('rivers', '')")


READERS = {
    "a policy": "create policy more on notes to app_rls using ({})",
    "a changed policy": "alter policy more on notes using ({})",
    "a view": "create view seen as select {} as is_seen",
    "a changed view": "create or replace view seen as select {} as is_seen",
    "a function": "create function tells() returns bool language sql as $$ select {} $$",
    "a changed function": "create or replace function tells() returns bool language sql as "
    "$$ select {} $$",
    "a default": "alter table notes add column fresh bool default ({})",
    "a changed default": "alter table notes alter column fresh set default ({})",
}


def test_what_a_migration_makes_read_is_emptied_and_no_slip_from_then_on(
    connection: Connection,
) -> None:
    """On the connection that has asked before it: all in one transaction, as a migration is."""
    with connection.transaction(force_rollback=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        with as_application(connection, organization=OURS):
            pass
        for number, (what, statement) in enumerate(READERS.items()):
            name = f"reader{number}"
            setting = f"app.current_{name}_id"
            connection.execute(f"select set_config('{setting}', 'old', true)".encode())
            reads = f"current_setting('{setting}', true) is null"
            connection.execute(statement.format(reads).encode())
            with as_application(connection, organization=OURS):
                row = connection.execute("select current_setting(%s)", [setting]).fetchone()
                assert row == ("",), what
            context: dict[str, Any] = {name: OURS}
            with as_application(connection, **context):
                pass


def test_what_a_rollback_takes_away_is_read_no_longer(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute(
            READERS["a policy"]
            .format("current_setting('app.current_reader_id', true) = ''")
            .encode()
        )
        with as_application(connection, reader=OURS):
            pass
    with (
        pytest.warns(MissingContextWarning, match="nothing in this database reads"),
        as_application(connection, reader=OURS),
    ):
        pass
