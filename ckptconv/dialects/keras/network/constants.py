"""Arrays that an operation of Keras 3 was called with, which stand in the configuration.

Source: ``keras/src/saving/serialization_lib.py``: ``{"class_name": "__numpy__", "config": {"value":
[0.5, 0.25], "dtype": "float32"}}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ckptconv.dialects.keras.network.builder import Builder, Site, leaves, values_in
from ckptconv.dialects.keras.network.merge import PAIRWISE
from ckptconv.dialects.keras.network.operation import PREFIX
from ckptconv.dialects.keras.network.promotion import FLOAT
from ckptconv.graph.network import Node, Value

_CLASSES = ("__numpy__", "__tensor__")
_DTYPES = {
    "bool": ("bool", bool),
    "int32": ("int32", int),
    "int64": ("int64", int),
    "float32": ("float32", float),
    "float64": ("float32", float),
}
"""Dtype of an array → that of what is computed with it and a value of a network, as Keras promotes
(keras/src/backend/common/dtypes.py); what Python holds its numbers as."""
_MOST, _DEEPEST = 1024, 8
"""Numbers of one array, and axes; they stand in the network's text."""
_LARGEST = 1e30


_LAYERS = {**dict.fromkeys(PAIRWISE, "args"), "MultiHeadAttention": "attention_mask"}
"""Layers that take arrays → where; other layers cut an array and a value of many samples apart."""


def with_constants(b: Builder, site: Site) -> Site:
    """Return the call of an operation, or of a few layers, with values in the place of arrays.

    Raises:
        LossyError: an array of other dtypes or of many numbers, or along the batch.
    """
    is_operation = site.layer.class_name.startswith(PREFIX)
    key = "args" if is_operation else _LAYERS.get(site.layer.class_name, "")
    given = site.kwargs.get(key)
    if not site.inputs or not any(map(_is_array, leaves(given))):
        return site

    def filled(item: Any) -> Any:
        if isinstance(item, list):
            return [filled(one) for one in item]
        if not _is_array(item):
            return item
        return _value(b, site, item["config"], site.x, is_whole=not is_operation)

    kwargs = {**site.kwargs, key: filled(given)}
    return replace(site, inputs=tuple(values_in(kwargs.get("args"))), kwargs=kwargs)


def _is_array(arg: Any) -> bool:
    return isinstance(arg, dict) and arg.get("class_name") in _CLASSES


def _value(b: Builder, site: Site, config: Any, beside: Value, *, is_whole: bool) -> Value:
    """Return the array beside a value; ``is_whole``: it must have as many axes.

    Layers put those of fewer axes along the batch.
    """
    dtype, rows = str(config["dtype"]), config["value"]
    if dtype not in _DTYPES:
        raise site.refuse(f"an array of {dtype}"[:100])
    if dtype == "int64" and beside.dtype != FLOAT:
        raise site.refuse("an array of int64 beside whole numbers, of which Keras may make int32")
    if not isinstance(rows, list):
        raise site.refuse("a tensor that is one number, which backends promote otherwise")
    shape = tuple(_shape(rows))
    if len(shape) > _DEEPEST or math.prod(shape) > _MOST:
        raise site.refuse(f"an array of more than {_MOST} numbers")
    if is_whole and len(shape) != beside.rank:
        raise site.refuse("an array of another number of axes")
    if len(shape) >= beside.rank and shape[0] != 1:
        raise site.refuse("an array along the batch")
    dtype, kind = _DTYPES[dtype]
    told = {"numbers": _numbers(rows, shape, kind), "dtype": dtype}
    made = b.value(shape, dtype=dtype)
    b.nodes.append(Node("constant", (beside.name,), (made.name,), told))
    return made


def _shape(rows: Any) -> Iterator[int]:
    for _ in range(_DEEPEST + 1):
        if not isinstance(rows, list):
            return
        yield len(rows)
        rows = rows[0] if rows else None


def _numbers(rows: Any, shape: tuple[int, ...], kind: Callable[[Any], Any]) -> Any:
    """Return an array as tuples of tuples.

    Raises:
        ValueError: rows of several lengths, or what is no finite number of the kind.
    """
    if shape:
        if not isinstance(rows, list) or len(rows) != shape[0]:
            raise ValueError("an array whose rows are not alike")
        return tuple(_numbers(row, shape[1:], kind) for row in rows)
    if type(rows) not in (kind, int) or not abs(rows) <= _LARGEST:
        raise ValueError("an array of something else than numbers")
    return kind(rows)
