"""What lint may have found: one of everything, and hostile texts that hypothesis makes."""

from __future__ import annotations

from hypothesis import strategies as st

from headwater.model import Finding, Layer, Severity
from headwater.outcomes import LockMode, TableLock
from headwater.report.formats import Place
from headwater.verdicts import (
    Change,
    ChangeKind,
    Effect,
    Gone,
    Linted,
    Traced,
    TracedStatement,
    Weight,
    Weights,
)

BIG, SMALL = "20250101_big.sql", "20250102_small.sql"

REWRITE = Finding(
    rule="changing-column-type",
    message="The table is written anew while nobody can read it.",
    severity=Severity.ERROR,
    file=BIG,
    line=4,
    column=1,
    end_line=4,
    end_column=53,
    source="alter table kb.documents alter column n type bigint;",
    hint="add a column of the new type, fill it in batches, swap the names",
    why="A rewrite takes as long as the table is large.",
    measured="kb.documents is written anew under ACCESS EXCLUSIVE; 48 M rows, 41 GB.",
    page="docs/rules/changing-column-type.md",
    layer=Layer.TRACE,
    relation="kb.documents",
)
DROP = Finding(
    rule="ban-drop-table",
    message="What reads it fails.",
    severity=Severity.WARNING,
    file=BIG,
    line=7,
    column=5,
    end_line=9,
    end_column=2,
    source="    drop table kb.old",
    hint="rename it first",
)
NAMELESS = Finding(rule="no-migration", message="There is none.", severity=Severity.INFO)

TRACE = Traced(
    version="20250101_big",
    transactional=True,
    statements=(
        TracedStatement(number=1, line=1, text="create table kb.new (id bigint)"),
        TracedStatement(
            number=2,
            line=4,
            text="alter table kb.documents alter column n type bigint",
            effects=(
                Effect(
                    relation="kb.documents",
                    kind="table",
                    lock=LockMode.ACCESS_EXCLUSIVE,
                    rewrite="column type",
                    scans=2,
                    builds=("kb.documents_n_idx",),
                ),
                Effect(
                    relation="kb.tags",
                    kind="table",
                    lock=LockMode.SHARE_ROW_EXCLUSIVE,
                    target=False,
                    scans=1,
                ),
            ),
        ),
        TracedStatement(
            number=3,
            line=9,
            text="do $$",
            effects=(Effect(relation="kb.recent", kind="materialized view", rows=1200),),
            gone=(
                Gone(kind="table", identity="kb.old", cascade=False),
                Gone(kind="view", identity="kb.old_names", cascade=True),
            ),
            hidden=("DROP TABLE kb.old",),
            settings=("search_path",),
            held=(
                TableLock(relation="kb.documents", mode=LockMode.ACCESS_EXCLUSIVE),
                TableLock(relation="kb.tags", mode=LockMode.SHARE),
            ),
        ),
        TracedStatement(number=4, line=12, text="create role reader", skipped="it would stay"),
    ),
    unfinished=("constraint positive on kb.documents (NOT VALID)",),
    changes=(
        Change(object="column kb.documents.n", change=ChangeKind.CHANGED, attribute="type",
               before="integer", after="bigint"),
        Change(object="table kb.new", change=ChangeKind.EXTRA),
        Change(object="view kb.old_names", change=ChangeKind.MISSING),
    ),
    notes=("no event triggers: this role is no superuser",),
    error="",
)  # fmt: skip
QUIET = Traced(
    version="20250102_small",
    transactional=False,
    statements=(TracedStatement(number=1, line=1, text="create table kb.more ()"),),
)
WEIGHTS = Weights(
    source="statistics.json",
    version=18,
    tables={
        "kb.documents": Weight(rows=48_000_000, heap_bytes=30 * 2**30, index_bytes=11 * 2**30),
        "kb.tags": Weight(rows=12, heap_bytes=8192, index_bytes=0),
        "kb.untouched": Weight(rows=1, heap_bytes=1, index_bytes=1),
    },
)
EVERYTHING = Linted(
    findings=(REWRITE, DROP, NAMELESS),
    files=2,
    notes=("squawk is not installed",),
    traces=(TRACE, QUIET),
    weights=WEIGHTS,
)
PLACE = Place(folder="db/migrations", version="0.1.0", files=(BIG, SMALL))

# --- what hypothesis makes --------------------------------------------------------------------

# What means something to one of the formats, or to a terminal, or cannot be written at all.
_NASTY = (
    "%\r\n\t:,;=|`~<>&@#*_[](){}!\\\"'$^ \x00\x0b\x1b\x7f\x85\u200b\u2028\u202e\ud800\udcff\ufffe"
)

texts = st.text(st.sampled_from(_NASTY) | st.characters(), max_size=25)
names = st.sampled_from(["syntax", "bad-name", "ban-drop-table"])
files = st.text(
    st.sampled_from(_NASTY.replace("\x00", "")) | st.characters(exclude_characters="\x00/."),
    max_size=15,
)


_numbers = st.integers(0, 5)
findings = st.builds(
    Finding,
    rule=names,
    message=texts,
    severity=st.sampled_from(Severity),
    file=files,
    line=_numbers,
    column=_numbers,
    end_line=_numbers,
    end_column=_numbers,
    source=texts,
    hint=texts,
    why=texts,
    measured=texts,
    page=st.sampled_from(["", "docs/rules/a.md"]),
    layer=st.sampled_from(Layer),
    relation=texts,
)

hostile = st.builds(
    Linted,
    findings=st.lists(findings, max_size=3).map(tuple),
    files=st.integers(0, 3),
    notes=st.lists(texts, max_size=2).map(tuple),
)
