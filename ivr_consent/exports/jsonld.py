"""JSON-LD documents of records: their context, which stands in each of them, and their bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

Node = dict[str, Any]

_IRI: Final = {"@type": "@id"}
_TIME: Final = {"@type": "xsd:dateTime"}

CONTEXT: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "dpv": "https://w3id.org/dpv#",
        "pd": "https://w3id.org/dpv/pd#",
        "loc": "https://w3id.org/dpv/loc#",
        "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
        "dct": "http://purl.org/dc/terms/",
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "schema": "https://schema.org/",
        "skos": "http://www.w3.org/2004/02/skos/core#",
        "spdx": "http://spdx.org/rdf/terms#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        **dict.fromkeys(
            (
                "dct:conformsTo",
                "dpv:hasApplicableLaw",
                "dpv:hasJurisdiction",
                "dpv:hasLegalBasis",
                "dpv:hasLocation",
                "dpv:hasNecessity",
                "dpv:hasProcessing",
                "dpv:isIndicatedBy",
                "schema:recipient",
                "skos:broader",
                "spdx:algorithm",
            ),
            _IRI,
        ),
        **dict.fromkeys(("dct:created", "dct:date", "dpv:isIndicatedAtTime"), _TIME),
        "spdx:checksumValue": {"@type": "xsd:hexBinary"},
    }
)
"""Stands in every document: none needs the network to be read."""


def document(node: Node) -> bytes:
    """One record or receipt as a document of its own."""
    return dumped({"@context": dict(CONTEXT), **node}) + b"\n"


def opening() -> bytes:
    """The beginning of a document of many records; after it come the records, each on its line, with commas."""
    return b'{"@context":' + dumped(dict(CONTEXT)) + b',"@graph":[\n'


CLOSING: Final = b"\n]}\n"
BETWEEN: Final = b",\n"


def dumped(value: object) -> bytes:
    """JSON in ASCII, harmless to a terminal: what is beyond it is escaped."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f").encode()


def graph(nodes: Iterable[Node]) -> Iterable[bytes]:
    """The pieces of a document of many records."""
    yield opening()
    first = True
    for node in nodes:
        yield (b"" if first else BETWEEN) + dumped(node)
        first = False
    yield CLOSING
