"""Which migration made an object what it is, and after which one a query is no longer true.

Both replay the files on a scratch database, one after the other. What each file changed follows
from the files up to it, and is kept, so that only new files are ever replayed for `blame`.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import psycopg

from headwater.checks.building import Workshop, workshop
from headwater.checks.reading import grammar_of
from headwater.checks.rebuilding import place_for, prepare_to_ask, require_place
from headwater.errors import FilesError
from headwater.model import MigrationFolder, Notify, Said, Target, ignore, plural
from headwater.postgres.connect import Connection, connect
from headwater.postgres.databases import locale_of
from headwater.postgres.pooler import require_own_session
from headwater.settings import Settings
from headwater.verdicts import Answer, Asked, Bisected, Blamed, Happened, Moment, Step, Thing

# --- blame ------------------------------------------------------------------------------------


def blame(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    pattern: str,
    *,
    notify: Notify = ignore,
) -> Blamed:
    """Say which migration created the objects of a name, which changed them and how.

    `pattern` is an identity (`column kb.tags.name`), the name alone, or either with `*` and `?`.
    What is a part of such an object is told with it. On the target nothing but SELECTs; the files
    are replayed in the order of names.
    """
    with _shop(target, folder, settings, "looking for its history", notify) as shop:
        steps = list(shop.walk([migration.version for migration in folder.migrations]))
    names = _names(steps)
    moments = tuple(_moments(steps, frozenset(_with_parts(names, pattern))))
    close = () if moments else tuple(_close(names, pattern))
    return Blamed(pattern=pattern, moments=moments, close=close)


def _names(steps: Sequence[Step]) -> dict[str, tuple[str, str]]:
    """Give kind and parent of every object that there ever was, by identity."""
    return {each.object: (each.kind, each.parent) for step in steps for each in step.made}


def _with_parts(names: dict[str, tuple[str, str]], pattern: str) -> Iterator[str]:
    """Give the objects that a pattern means, and all that is a part of one."""
    meant = set[str]()
    for each, (kind, above) in names.items():
        on = above.removeprefix(f"{names.get(above, ('', ''))[0]} ")
        if _is_meant(each, kind, on, pattern):
            meant.add(each)
    yield from meant
    for identity in names.keys() - meant:
        above, seen = names[identity][1], {identity}
        while above and above not in seen:
            if above in meant:
                yield identity
                break
            seen.add(above)
            above = names.get(above, ("", ""))[1]


def _is_meant(identity: str, kind: str, on: str, pattern: str) -> bool:
    """Say whether a pattern means an object: its identity, its name, or the first part of that.

    `policy p on kb.t` is also called `p`, and `function kb.f(integer)` also `kb.f`.
    """
    name = identity.removeprefix(f"{kind} ")
    spellings = {identity, name, name.removesuffix(f" on {on}")}
    if kind in ("aggregate", "function", "procedure"):
        spellings.add(name.partition("(")[0])
    # Brackets are no pattern: they stand in the types of arguments.
    plain = pattern.replace("[", "[[]")
    return any(fnmatchcase(each, plain) for each in spellings)


def _moments(steps: Sequence[Step], objects: frozenset[str]) -> Iterator[Moment]:
    """Give what happened to some objects, in order; a part is not told with its whole."""
    for step in steps:
        made = {each.object for each in step.made}
        for each in _by_themselves(step.made, objects):
            yield Moment(
                version=step.version,
                object=each.object,
                happened=Happened.CREATED,
                within=each.parent if each.parent in made else "",
            )
        for change in step.changed:
            if change.object in objects:
                yield Moment(
                    version=step.version,
                    object=change.object,
                    happened=Happened.CHANGED,
                    attribute=change.attribute,
                    before=change.before,
                    after=change.after,
                )
        for each in _by_themselves(step.gone, objects):
            yield Moment(version=step.version, object=each.object, happened=Happened.DROPPED)


def _by_themselves(things: Sequence[Thing], objects: frozenset[str]) -> Iterator[Thing]:
    """Give those of some objects that are not told by the whole that they are a part of."""
    told = {each.object for each in things} & objects
    return (each for each in things if each.object in told and each.parent not in told)


def _close(names: dict[str, tuple[str, str]], pattern: str) -> list[str]:
    """Give names that look like one that was never there."""
    short = {each.removeprefix(f"{kind} ") for each, (kind, _) in names.items()}
    return difflib.get_close_matches(pattern, short, n=3, cutoff=0.6)


# --- bisect -----------------------------------------------------------------------------------


def bisect(
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    query: str,
    *,
    notify: Notify = ignore,
) -> Bisected:
    """Find the migration after which a boolean query, once true, is false for the first time.

    The files are run one by one, in the order of names, and the query is asked before the first and
    behind each, in a read-only transaction that is rolled back. Where it fails (what it asks about
    is not there yet), or gives no boolean, it is neither true nor false.
    """
    _require_select(query)
    asked, was_true = list[Asked](), False
    with (
        _shop(target, folder, settings, "asking", notify) as shop,
        shop.replay([migration.version for migration in folder.migrations]) as replayed,
    ):
        for version, database in replayed:
            asked.append(Asked(version=version, answer=_ask(database, query, settings)))
            value = asked[-1].answer.value
            if was_true and value is False:
                break
            was_true = was_true or value is True
    return Bisected(query=query, asked=tuple(asked))


def _require_select(query: str) -> None:
    """Raise FilesError, before anything is built, unless it is one SELECT of one column."""
    from headwater.files.grammar import NotParsed, parse

    try:
        query.encode()
        statements = parse(query).statements
    except UnicodeEncodeError as error:
        raise _no_question("it is no UTF-8") from error
    except NotParsed as error:
        raise _no_question(str(error)) from error
    if len(statements) != 1 or statements[0].kind != "select_stmt":
        raise _no_question("it is not one SELECT")


def _no_question(why: str) -> FilesError:
    return FilesError(
        f"this is no question that could be asked: {why}",
        hint="invoke bisect \"select to_regclass('kb.tags') is not null\"",
    )


def _ask(database: Target, query: str, settings: Settings) -> Answer:
    with connect(database, purpose="bisect") as connection:
        prepare_to_ask(connection, settings)
        return _answer(connection, query)


def _answer(connection: Connection, query: str) -> Answer:
    try:
        with connection.transaction(force_rollback=True):
            cursor = connection.execute(query.encode())
            rows = cursor.fetchmany(2) if cursor.description else []
    except psycopg.Error as error:
        return Answer(words=error.diag.message_primary or str(error).strip())
    if len(rows) != 1 or len(rows[0]) != 1:
        return Answer(words="it gives not one value but " + ("several" if rows else "none"))
    value = rows[0][0]
    if value is True or value is False:
        return Answer(value=value, words="true" if value else "false")
    return Answer(words="null" if value is None else f"{value!r} is no boolean")


# --- where they are replayed ------------------------------------------------------------------


@contextmanager
def _shop(
    target: Target, folder: MigrationFolder, settings: Settings, doing: str, notify: Notify
) -> Generator[Workshop]:
    """Choose where the files can be built, and go there; raise when they must not, or nowhere."""
    with connect(target, purpose="replay") as connection:
        require_own_session(connection, target)
        grammar = grammar_of(folder.migrations)
        if grammar.findings:
            raise FilesError(
                f"{plural(len(grammar.findings), 'problem')} in the migrations; nothing was run",
                findings=grammar.findings,
                hint="mend the files, then run the same command again",
            )
        place = require_place(place_for(connection, target, settings, grammar, notify), doing)
        locale = locale_of(connection)
    notify(Said(message="replaying the files on a scratch database"))
    with workshop(place, folder, settings, locale) as shop:
        yield shop
