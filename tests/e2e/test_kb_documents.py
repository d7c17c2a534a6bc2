"""Documents and chunks: written, hashed, cut, and searched by words, by letters and by meaning."""

from __future__ import annotations

import hashlib

import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation, UniqueViolation

from headwater.testing.context import as_application
from headwater.testing.rows import Row
from tests.e2e.factories import Factories
from tests.e2e.helpers import (
    Connection,
    again,
    change,
    count,
    delete,
    one,
    plan_of,
    refused,
    working_in,
)
from tests.e2e.rules import Rule, Unique

TABLES = ("kb.documents", "kb.chunks")
RULES: tuple[Rule, ...] = (
    Unique(
        table="kb.documents",
        constraint="documents_project_id_content_hash_key",
        columns=("project_id", "content"),
    ),
    Unique(
        table="kb.chunks",
        constraint="chunks_document_id_chunk_index_key",
        columns=("document_id", "chunk_index"),
    ),
)


def sha_256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("content", ["water", "", None, "\N{DROPLET}"])
def test_content_hash_is_the_sha_256_of_the_content(make: Factories, content: str | None) -> None:
    assert make.document(content=content).content_hash == sha_256(content or "")


def test_content_hash_cannot_be_forged(db: Connection, make: Factories, project: Row) -> None:
    with working_in(db, project):
        document = make.document(project=project, content="water", content_hash="forged")
        assert document.content_hash == sha_256("water")
        assert change(db, document, content_hash="forged").content_hash == sha_256("water")
        assert change(db, document, content="wine").content_hash == sha_256("wine")


def test_a_document_does_not_become_the_same_as_another_one(
    db: Connection, make: Factories, project: Row
) -> None:
    make.document(project=project, content="water")
    other = make.document(project=project, content="wine")
    with refused(db, UniqueViolation, "content_hash"), working_in(db, project):
        change(db, other, content="water")


def test_deleting_a_document_takes_its_chunks_and_frees_its_children(
    db: Connection, make: Factories, project: Row
) -> None:
    archive = make.document(project=project)
    make.chunk(document=archive)
    file = make.document(parent_document=archive)
    with working_in(db, project):
        delete(db, archive)
        assert count(db, "kb.chunks") == 0
        assert again(db, file).parent_document_id is None


def test_a_parent_is_a_document_of_the_same_project_even_to_the_owner(
    db: Connection, make: Factories, project: Row, elsewhere: Row, stranger: Row
) -> None:
    for other in (elsewhere, stranger):
        with refused(db, ForeignKeyViolation, "documents_parent_fkey"):
            make.document(project=project, parent_document=make.document(project=other))
        with refused(db, ForeignKeyViolation):
            make.document(organization=stranger.organization_id, project=elsewhere)


def test_what_the_source_knows_of_a_document_is_found_by_containment(
    db: Connection, make: Factories, project: Row
) -> None:
    make.document(project=project)
    imported = make.document(
        project=project, integration_metadata={"clickup": {"task_id": "86c1", "list": [1]}}
    )
    with working_in(db, project):
        found = db.execute(
            "select id from kb.documents where integration_metadata @> %s",
            ['{"clickup": {"task_id": "86c1"}}'],
        )
        assert found.fetchall() == [(imported.id,)]


def test_chunks_keep_their_words_for_full_text_search(
    db: Connection, make: Factories, project: Row
) -> None:
    chunk = make.chunk(document=make.document(project=project), text="The Rivers run", tsv="x")
    assert chunk.tsv == "'rivers':2 'run':3 'the':1"
    with working_in(db, project):
        assert change(db, chunk, tsv=None).tsv == chunk.tsv
        assert change(db, chunk, text="lake").tsv == "'lake':1"


@pytest.mark.parametrize("length", [767, 769])
def test_an_embedding_has_768_numbers(db: Connection, make: Factories, length: int) -> None:
    make.chunk(embedding=[0.5] * 768)
    with refused(db, psycopg.errors.DataException):
        make.chunk(embedding=[0.5] * length)


# --- search, with enough rows that the planner chooses the index --------------------------------

ROWS, EMBEDDED = 2_000, 200
WORDS = ("weir", "lock", "delta", "mouth", "spring", "ford", "rapid", "gorge", "basin", "bank")

# Each chunk has words of its own. The first ones have an embedding, which costs most of the time:
# they stand around a circle, in the plane of the first two of 768 numbers.
FILL = """
insert into kb.chunks (document_id, chunk_index, text, embedding)
select %(document)s, n,
    format('%%s number %%s', (%(words)s::text[])[1 + n %% 10], md5(n::text)),
    case when n <= %(embedded)s then
        format('{1:%%s,2:%%s}/768', cosd(angle), sind(angle))::public.sparsevec
    end
from generate_series(1, %(rows)s) as n, lateral (select 1.8 * n + %(turn)s) as at(angle)
"""


class Library:
    """A project with many chunks, and one with a few; and the statistics that the planner reads."""

    def __init__(self, connection: Connection) -> None:
        make = Factories(connection)
        self.connection = connection
        self.large = make.project()
        self.small = make.project()
        values = {"words": list(WORDS), "embedded": EMBEDDED}
        for project, rows, turn in ((self.large, ROWS, 0), (self.small, 5, 0.5)):
            document = make.document(project=project)
            own = {"document": document.id, "rows": rows, "turn": turn}
            connection.execute(FILL, values | own)
        # What GIN has not sorted in yet counts as read for each query.
        connection.execute("vacuum (analyze) kb.chunks")

    def embedding_of(self, chunk: int) -> str:
        query = "select embedding::text from kb.chunks where chunk_index = %s limit 1"
        return str(one(self.connection, query, chunk))


@pytest.fixture(scope="module")
def library(module_connection: Connection) -> Library:
    return Library(module_connection)


def test_words_are_found_by_their_index(library: Library) -> None:
    """As the owner: no text operator is leakproof, so under row security the rows come first."""
    text = one(library.connection, "select text from kb.chunks where chunk_index = 77 limit 1")
    query = "select id from kb.chunks where tsv @@ plainto_tsquery('simple', %s)"
    assert "chunks_tsv_idx" in plan_of(library.connection, query, text)
    [(found,)] = library.connection.execute(query.encode(), [text])
    assert one(library.connection, "select text from kb.chunks where id = %s", found) == text


@pytest.mark.parametrize("operator", ["text like %s", "text ilike %s"])
def test_parts_of_words_are_found_by_their_trigrams(library: Library, operator: str) -> None:
    text = one(library.connection, "select text from kb.chunks where chunk_index = 78 limit 1")
    part = f"%{text[-8:]}%"
    query = f"select text from kb.chunks where {operator}"
    assert "chunks_text_trgm_idx" in plan_of(library.connection, query, part)
    assert library.connection.execute(query.encode(), [part]).fetchall() == [(text,)]


def test_what_is_spelt_wrongly_is_found_by_similarity(library: Library) -> None:
    text = one(library.connection, "select text from kb.chunks where chunk_index = 79 limit 1")
    query = "select text from kb.chunks where text %% %s order by similarity(text, %s) desc limit 1"
    wrong = text.replace("number", "nmuber")
    with library.connection.transaction(force_rollback=True):
        # A text has forty trigrams, to be looked up each: 2,000 rows are read faster.
        library.connection.execute("set local enable_seqscan = off")
        assert "chunks_text_trgm_idx" in plan_of(library.connection, query, wrong, wrong)
        assert library.connection.execute(query.encode(), [wrong, wrong]).fetchall() == [(text,)]


NEAREST = "select chunk_index from kb.chunks order by embedding <=> %s::public.vector limit 3"


def test_meaning_is_found_by_the_index_as_the_application(library: Library) -> None:
    """An order is no filter: the index gives rows, and the policy takes away what is others'."""
    db, target = library.connection, library.embedding_of(100)
    with working_in(db, library.large):
        assert "chunks_embedding_idx" in plan_of(db, NEAREST, target)
        assert db.execute(NEAREST.encode(), [target]).fetchone() == (100,)


def test_the_nearest_of_few_among_many_need_an_iterative_scan(library: Library) -> None:
    """The index gives the nearest of everybody, of which row security leaves none."""
    db, target = library.connection, library.embedding_of(100)
    with db.transaction(force_rollback=True), working_in(db, library.small):
        # To sort five rows is cheaper, and the planner would do so: the policy asks for each row
        # whether its document is seen, and statistics say that few are.
        db.execute("set local enable_sort = off")
        assert "chunks_embedding_idx" in plan_of(db, NEAREST, target)
        assert db.execute(NEAREST.encode(), [target]).fetchall() == []
        db.execute("set local hnsw.iterative_scan = strict_order")
        assert len(db.execute(NEAREST.encode(), [target]).fetchall()) == 3


def test_a_search_finds_nothing_of_others(library: Library) -> None:
    text = one(library.connection, "select text from kb.chunks where chunk_index = 80 limit 1")
    query = "select count(*) from kb.chunks where tsv @@ plainto_tsquery('simple', %s)"
    assert one(library.connection, query, text) == 1
    with as_application(library.connection, organization=library.small.organization_id):
        assert one(library.connection, query, text) == 0
