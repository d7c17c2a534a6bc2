"""Faults from inside the server: the backend ends itself at the n-th boundary that it passes.

A boundary is the end of a DDL command (an event trigger), a statement that is put in between
(`select fault.boundary()`, which stays in the file), the row of history or of the journal (a
CHECK), and the COMMIT behind it (a deferred trigger). They are counted by a sequence, which no
rollback takes back: a fault happens once, and the run after it passes.
"""

from __future__ import annotations

from headwater.model import Target
from tests.support import query, value

BOUNDARY = "select fault.boundary();"

INSTALL = """
create schema fault;
create sequence fault.passed;
create table fault.armed (point bigint);
insert into fault.armed values (0);
create table fault.commits (at int);

create function fault.boundary() returns boolean language plpgsql as $$
begin
    if pg_catalog.nextval('fault.passed') = (select point from fault.armed) then
        perform pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
        perform pg_catalog.pg_sleep(60);
    end if;
    return true;
end $$;

create function fault.at_commit() returns trigger language plpgsql as $$
begin perform fault.boundary(); return null; end $$;
create constraint trigger at_commit after insert on fault.commits
    deferrable initially deferred for each row execute function fault.at_commit();

create function fault.at_record() returns boolean language plpgsql as $$
begin
    perform fault.boundary();
    insert into fault.commits values (1);
    return true;
end $$;

create function fault.at_ddl() returns event_trigger language plpgsql as $$
begin perform fault.boundary(); end $$;
"""

# Only on what Headwater itself has made by then. (It refuses a history with triggers.)
ON_BOOKKEEPING = """
alter table public.schema_migrations add check (fault.at_record()) not valid;
alter table public.schema_migrations_steps add check (fault.at_record()) not valid;
"""
ON_DDL = """
create event trigger fault_at_ddl on ddl_command_end execute function fault.at_ddl();
"""


def arm(target: Target, point: int) -> None:
    """Let the backend end itself at the boundary of this number, counted from now; 0 is never."""
    query(
        target,
        f"select setval('fault.passed', 1, false); update fault.armed set point = {point}",
    )


def passed(target: Target) -> int:
    """Give how many boundaries were passed since it was armed."""
    count = value(target, "select case when is_called then last_value else 0 end from fault.passed")
    assert isinstance(count, int)
    return count


def disarm(target: Target) -> None:
    """End the injection."""
    query(target, "update fault.armed set point = 0")
