"""The inputs of a whole model, as its configuration records them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ckptconv.dialects.keras.model_config import Entry
from ckptconv.dialects.keras.network.builder import Builder
from ckptconv.dialects.keras.network.promotion import FLOAT, OTHER_FLOATS
from ckptconv.dialects.keras.network.topology import Call, Ref
from ckptconv.dialects.keras.recurrent import CLASSES
from ckptconv.errors import DialectError
from ckptconv.graph.network import Shape, Value


def input_of(b: Builder, model: Entry, layer: Entry | None, calls: Sequence[Call]) -> Value:
    """Return an input of the whole model, of the shape that the configuration records."""
    first = layer if layer is not None and layer.class_name == "InputLayer" else None
    known = [first] if first else [calls[0].layer if calls else model, model]
    for place in known:
        config = place.config
        build = config.get("build_config")
        shape = (
            config.get("batch_shape")
            or config.get("batch_input_shape")
            or config.get("build_input_shape")
            or (build.get("input_shape") if isinstance(build, dict) else None)
        )
        if shape is not None:
            break
    else:
        shape = _implied(known[0])
    said = (place.config.get(key) for place in known for key in ("input_dtype", "dtype"))
    dtype = next((word for word in said if isinstance(word, str)), "float32")
    embeds = first is not None and any(
        call.layer.class_name == "Embedding"
        and any(isinstance(arg, Ref) and arg.layer == first.name for arg in call.args)
        for call in calls
    )
    whole = dtype.startswith(("int", "uint")) or embeds or known[0].class_name == "Embedding"
    name = first.name if first else "x"
    if dtype in OTHER_FLOATS and not whole:
        b.remark(f"Keras takes {name} in {dtype}, this network in float32.")
    kept = "bool" if dtype == "bool" else "int32" if whole else FLOAT
    return b.value(_shape(shape, name), name=name, dtype=kept)


def _implied(layer: Entry) -> Any:
    """Return the shape that a first layer's class implies, or None."""
    if layer.class_name == "Embedding":
        return [None, None]
    if layer.class_name in (*CLASSES, "RNN") and isinstance(layer.config.get("input_dim"), int):
        return [None, layer.config.get("input_length"), layer.config["input_dim"]]
    return None


def _shape(value: Any, where: str) -> Shape:
    good = isinstance(value, list | tuple) and 0 < len(value) <= 8
    if not good or any(n is not None and (type(n) is not int or n < 0) for n in value):
        raise DialectError(
            "the configuration does not record the shape of this input",
            tensor=where,
            found=str(value)[:80],
            hint="saving the model after it was built",
        )
    return (None, *value[1:])
