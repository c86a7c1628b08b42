"""Mutations of JSON documents: other values, names that stand twice, deep nesting, broken text."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.fuzz.bits import NUMBERS, TEXTS, bytewise, number

_DUPLICATE = "a name that is repeated below"
_VALUES: list[Any] = [
    *NUMBERS,
    *(text.decode("utf-8", "surrogatepass") if text != b"\xff\xfe" else "\xff" for text in TEXTS),
    *(0.5, -0.0, 1e308, float("inf"), float("nan"), True, False, None),
    *([], {}, [[]], [0] * 70, [-1], [1 << 31, 1 << 31, 0], {"a": 1}, [None]),
]


def mutate(data: bytes, rng: Random) -> bytes:
    """Return the document with one node changed, or its text damaged."""
    if rng.random() < 0.15:
        return bytewise(data, rng)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return bytewise(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        document = _changed(document, rng)
    text = json.dumps(document, separators=rng.choice(((",", ":"), (", ", ": "))))
    if _DUPLICATE in text and isinstance(document, dict):
        text = text.replace(
            _DUPLICATE, rng.choice([k for k in document if k != _DUPLICATE] or [""])
        )
    if rng.random() < 0.02:
        text = text.replace("1", "[" * 3000 + "1" + "]" * 3000, 1)
    return text.encode("utf-8", "surrogatepass")


def _changed(document: Any, rng: Random) -> Any:
    """Walk down a random path and change what is there."""
    if isinstance(document, dict) and document:
        key = rng.choice(list(document))
        if rng.random() < 0.8:
            return {**document, key: _changed(document[key], rng)}
        return _changed_entry(document, key, rng)
    if isinstance(document, list) and document:
        at = rng.randrange(len(document))
        if rng.random() < 0.75:
            return [*document[:at], _changed(document[at], rng), *document[at + 1 :]]
        return rng.choice((document[:at], document * 2, document[::-1], [*document, document[at]]))
    if type(document) is int and rng.random() < 0.7:
        return number(rng, document)
    if isinstance(document, str) and rng.random() < 0.3:
        return rng.choice((document + "x", document[1:], document.upper(), document * 3))
    return rng.choice(_VALUES)


def _changed_entry(document: dict[str, Any], key: str, rng: Random) -> dict[str, Any]:
    other = rng.choice(list(document))
    rest = {k: v for k, v in document.items() if k != key}
    name = rng.choice(_VALUES)
    return rng.choice(
        (
            rest,
            {**document, key: document[other], other: document[key]},
            {**document, key: document[other]},
            {**rest, (name if isinstance(name, str) else key + "x"): document[key]},
            {**document, _DUPLICATE: document[key]},
        )
    )
