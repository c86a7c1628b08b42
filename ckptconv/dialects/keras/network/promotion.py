"""Dtypes of what Keras computes from values of several: as a backend promotes, and floats of means.

Source: ``keras/src/backend/common/dtypes.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckptconv.dialects.keras.network.builder import Builder
from ckptconv.graph.network import Node, Value

FLOAT, WHOLE_DTYPES = "float32", ("bool", "int32", "int64")
OTHER_FLOATS = ("float16", "bfloat16", "float64")
"""Those of Keras's that a network does not compute in."""
_ORDER = (*WHOLE_DTYPES, FLOAT)
"""Of two dtypes the later one is the result's."""


def common(dtypes: Iterable[str]) -> str:
    """Return the dtype of what is computed from values of these; one that is not known decides."""
    return max(dtypes, key=lambda dtype: _ORDER.index(dtype) if dtype in _ORDER else len(_ORDER))


def with_number(dtype: str, number: float) -> str:
    """Return the dtype of what is computed from a value and a number."""
    return common((dtype, FLOAT if isinstance(number, float) else "int32"))


def converted(b: Builder, x: Value, dtype: str) -> Value:
    if x.dtype == dtype:
        return x
    made = b.value(x.shape, dtype=dtype)
    b.nodes.append(Node("convert", (x.name,), (made.name,), {"dtype": dtype}))
    return made


def floats(b: Builder, x: Value) -> Value:
    """Return whole numbers and bools as floats."""
    return converted(b, x, FLOAT) if x.dtype in WHOLE_DTYPES else x


def numbers(b: Builder, x: Value) -> Value:
    """Return bools as whole numbers."""
    return converted(b, x, "int32") if x.dtype == "bool" else x


def alike(b: Builder, values: Sequence[Value]) -> list[Value]:
    """Return values of several dtypes in one that holds them all, where all are known."""
    dtype = common(value.dtype for value in values)
    return [converted(b, value, dtype) for value in values] if dtype in _ORDER else [*values]
