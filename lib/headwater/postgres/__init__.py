"""The server: start, connect, lock, history, run, reset, whole databases."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.postgres.bookkeeping import mark
    from headwater.postgres.databases import dispose
    from headwater.postgres.psql import run_psql, url_of
    from headwater.postgres.reset import reset as rebuild
    from headwater.postgres.run import migrate, pending, status
    from headwater.postgres.seeding import apply_accepted, apply_seeds, require_seedable
    from headwater.postgres.server import destroy, server_of, stop
    from headwater.postgres.target import choose_target, private_target
    from headwater.postgres.trial import trial as try_out
    from headwater.postgres.undo import rollback
    from headwater.postgres.waiting import wait_for
    from headwater.postgres.weighing import weights_of

__all__ = [
    "apply_accepted",
    "apply_seeds",
    "choose_target",
    "destroy",
    "dispose",
    "mark",
    "migrate",
    "pending",
    "private_target",
    "rebuild",
    "require_seedable",
    "rollback",
    "run_psql",
    "server_of",
    "status",
    "stop",
    "try_out",
    "url_of",
    "wait_for",
    "weights_of",
]

__getattr__ = exporting(
    __name__,
    apply_accepted="seeding",
    apply_seeds="seeding",
    choose_target="target",
    destroy="server",
    dispose="databases",
    mark="bookkeeping",
    migrate="run",
    pending="run",
    private_target="target",
    rebuild="reset.reset",
    require_seedable="seeding",
    rollback="undo",
    run_psql="psql",
    server_of="server",
    status="run",
    stop="server",
    try_out="trial.trial",
    url_of="psql",
    wait_for="waiting",
    weights_of="weighing",
)
