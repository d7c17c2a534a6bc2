"""The graph of the project Cranes: from `_graph.json`, in which people write names, not ids.

In Python because an id follows from a name here, and a hash from the properties as JSON.
"""

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import psycopg

ORGANIZATION = UUID("0a000000-0000-4000-8000-000000000001")
PROJECT = UUID("0b000000-0000-4000-8000-000000000001")

OBJECT = """
insert into kb.graph_objects
    (id, canonical_id, organization_id, project_id, type, key, status, labels, properties,
     content_hash)
values (%(id)s, %(id)s, %(organization)s, %(project)s, %(type)s, %(key)s, 'active', %(labels)s,
        %(properties)s, %(hash)s)
on conflict do nothing
"""
RELATIONSHIP = """
insert into kb.graph_relationships
    (id, canonical_id, organization_id, project_id, type, src_id, dst_id)
values (%(id)s, %(id)s, %(organization)s, %(project)s, %(type)s, %(source)s, %(destination)s)
on conflict do nothing
"""


def seed(connection: psycopg.Connection) -> None:
    """Write what the file says; a relationship whose end it does not name is a KeyError."""
    graph = json.loads(Path(__file__).with_name("_graph.json").read_text(encoding="utf-8"))
    keys = {one["key"]: id_of(one["key"]) for one in graph["objects"]}
    for one in graph["objects"]:
        connection.execute(OBJECT, object_row(one))
    for source, kind, destination in graph["relationships"]:
        row = {"source": keys[source], "type": kind, "destination": keys[destination]}
        row |= {"id": id_of(f"{source} {kind} {destination}")}
        connection.execute(RELATIONSHIP, tenant() | row)


def object_row(one: dict[str, Any]) -> dict[str, Any]:
    """Give an object as its row."""
    properties = json.dumps(one["properties"], sort_keys=True)
    return tenant() | {
        "id": id_of(one["key"]),
        "type": one["type"],
        "key": one["key"],
        "labels": one.get("labels", []),
        "properties": properties,
        "hash": hashlib.sha256(properties.encode()).digest(),
    }


def tenant() -> dict[str, UUID]:
    """Give the two columns that every row of a tenant has."""
    return {"organization": ORGANIZATION, "project": PROJECT}


def id_of(name: str) -> UUID:
    """Give the id of what has a name in this project: always the same."""
    return uuid5(PROJECT, name)
