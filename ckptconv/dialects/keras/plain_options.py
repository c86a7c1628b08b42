"""What a configuration says of the layers that are not recurrent: axes, ranks, paddings.

torch's and MindSpore's layers have their channels at axis 1 and normalise trailing axes; Keras says
which by ``axis`` and ``data_format``. An axis counted from the front tells its place only with the
rank of the input (``joints``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ckptconv.dialects.keras.grouping import Unit
from ckptconv.errors import LossyError
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import without_rank

_FORMATS = {"th": "channels_first", "tf": "channels_last"}
_LAST, _FIRST = "channels_last", "channels_first"


def with_options(layer: Layer, unit: Unit, rank: int | None) -> Layer:
    """Return a layer with what its configuration says of where its axes are.

    Args:
        rank: of the layer's input, where it is known.

    Raises:
        LossyError: an option that torch's and MindSpore's layer does not have.
    """
    read = _READERS.get(without_rank(layer.kind))
    return read(layer, unit, rank) if read else layer


def check_options(unit: Unit) -> None:
    """Raise LossyError where a layer has other weights, since it computes something else."""
    if _config(unit).get("rms_scaling"):
        raise _refused(unit, "rms_scaling", True, "False")
    mode = _config(unit).get("mode", 0)
    if mode != 0 and unit.entry and unit.entry.class_name == "BatchNormalization":
        raise _refused(unit, "mode", mode, "0")


def _told(layer: Layer, **attributes: Any) -> Layer:
    return replace(layer, attributes={**layer.attributes, **attributes})


def _config(unit: Unit) -> Mapping[str, Any]:
    return unit.entry.config if unit.entry else {}


def _from_end(value: Any, rank: int | None) -> tuple[int, ...] | None:
    """Return axes counted from the end, or None where only the rank would tell."""
    axes = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(axis, int) for axis in axes) or (rank is None and max(axes) >= 0):
        return None
    return tuple(sorted(axis if axis < 0 else axis - (rank or 0) for axis in axes))


def _refused(unit: Unit, option: str, value: object, expected: str) -> LossyError:
    return LossyError(
        f"{option}={value!r} of {unit.entry.class_name if unit.entry else 'this layer'} has no "
        "equal in torch's and MindSpore's layer",
        tensor=unit.path,
        expected=expected,
    )


def _convolution(layer: Layer, unit: Unit, _: int | None) -> Layer:
    config = _config(unit)
    order = config.get("dim_ordering", "")
    order = _FORMATS.get(order, config.get("data_format") or _LAST)
    layer = _told(layer, data_format=order)
    strides = config.get("strides", 1)
    strided = any(n != 1 for n in (strides if isinstance(strides, list | tuple) else [strides]))
    if config.get("padding") != "same" or not strided:
        return layer
    shape = unit.entry.input_shape if unit.entry else None
    sizes = () if shape is None else shape[2:] if order == _FIRST else shape[1:-1]
    if len(sizes) != layer.params["weight"].ndim - 2 or None in sizes:
        return _told(layer, same_pads="unknown")
    return _told(layer, input_sizes=list(sizes))


def _transposed(layer: Layer, unit: Unit, _: int | None) -> Layer:
    config = _config(unit)
    if config.get("output_padding") is not None:
        raise _refused(unit, "output_padding", config["output_padding"], "None")
    kept = {k: v for k, v in layer.attributes.items() if k != "output_padding"}
    return _told(replace(layer, attributes=kept), data_format=config.get("data_format") or _LAST)


def _normalised(layer: Layer, unit: Unit, rank: int | None) -> Layer:
    config = _config(unit)
    count = next(iter(layer.params.values())).ndim
    axes = _from_end(config["axis"], rank) if "axis" in config else None
    if axes is None:
        return replace(layer, assumed={**layer.assumed, "axis": tuple(range(-count, 0))})
    if axes != tuple(range(-count, 0)):
        raise _refused(unit, "axis", config["axis"], "the last axes")
    return layer


def _channels(layer: Layer, unit: Unit, rank: int | None) -> Layer:
    """Tell where the channels are: at the end, or at axis 1 as torch has them."""
    axis = _config(unit).get("axis", -1)
    axes = _from_end(axis, rank)
    if axes is None:
        return _told(replace(layer, assumed={**layer.assumed, "axis": -1}), data_format=_LAST)
    if axes == (-1,):
        return _told(layer, data_format=_LAST if rank != 2 else _FIRST)
    if rank is None or axes != (1 - rank,):
        raise _refused(unit, "axis", axis, "the last axis, or axis 1")
    return _told(layer, data_format=_FIRST)


def _group_norm(layer: Layer, unit: Unit, rank: int | None) -> Layer:
    channels = next(iter(layer.params.values())).shape[0]
    groups = {"num_groups": channels} if _config(unit).get("groups") == -1 else {}
    return _told(_channels(layer, unit, rank), **groups)


def _batch_norm(layer: Layer, unit: Unit, rank: int | None) -> Layer:
    layer = _channels(layer, unit, rank)
    if rank is None or not 2 <= rank <= 5:
        return layer
    kind = f"BatchNorm{max(rank - 2, 1)}d"
    return replace(layer, kind=kind, candidates=(kind,))


def _slopes(layer: Layer, unit: Unit, _: int | None) -> Layer:
    places = next(iter(unit.leaves.values())).ndim
    return _told(layer, data_format=_LAST) if places > 1 else layer


_READERS: Mapping[str, Callable[[Layer, Unit, int | None], Layer]] = {
    "Conv": _convolution,
    "DepthwiseConv": _convolution,
    "ConvTranspose": _transposed,
    "LayerNorm": _normalised,
    "RMSNorm": _normalised,
    "GroupNorm": _group_norm,
    "BatchNorm": _batch_norm,
    "PReLU": _slopes,
}
