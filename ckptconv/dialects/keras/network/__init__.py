"""The network of a Keras model, from its configuration: ``topology``, then a rule for each class.

Nothing of a configuration is built or imported. Masks go along with values as Keras hands them on:
each rule says what becomes of its inputs' masks, and what says nothing drops them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ckptconv.dialects.keras.model_config import Entry
from ckptconv.dialects.keras.network import (
    attention,
    bidirectional,
    conv_lstm,
    convolutions,
    elementwise,
    graph_ops,
    merge,
    plain,
    recurrent,
    structure,
    upsampling,
)
from ckptconv.dialects.keras.network.builder import Builder, Site, masked, values_in
from ckptconv.dialects.keras.network.called import bound, check_dtype, require_inference, with_masks
from ckptconv.dialects.keras.network.constants import with_constants
from ckptconv.dialects.keras.network.execution import is_heedless
from ckptconv.dialects.keras.network.inputs import input_of
from ckptconv.dialects.keras.network.operation import PREFIX
from ckptconv.dialects.keras.network.promotion import floats
from ckptconv.dialects.keras.network.topology import Ref, is_model, topology
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.network import Network, Value
from ckptconv.spelling import by_hand

Rule = Callable[[Builder, Site], list[Value]]
_MAX_NODES = 20_000
_BY_NUMBER = {**elementwise.RULES, **dict.fromkeys(plain.DENSE, plain.dense)}
"""Layers that TimeDistributed may as well not be around."""


def read(
    root: Entry,
    version: str | None,
    paths: Sequence[str],
    stubs: Sequence[str] = (),
    backend: str = "",
) -> Network:
    """Return the network that a configuration describes.

    Args:
        version: of the Keras that wrote it; activations and masks depend on it.
        paths: of the layers that hold weights, in the file's order.
        stubs: names of layers that become functions to be written by hand.
        backend: that Keras ran on, as the file names it.

    Raises:
        DialectError: a configuration that records no calls, or that the weights do not fit.
        LossyError: a layer or a setting that no rule covers, by its name.
    """
    b = Builder(version, paths, stubs, backend)
    try:
        given, outputs = _model(b, root, (), None)
    except RecursionError:
        raise DialectError("a configuration that is nested too deep") from None
    if isinstance(told := root.config.get("output_layers"), dict):
        keys = ", ".join(sorted(told))
        b.remark(f"The model gives a dictionary, this network its values in order: {keys}.")
    return Network(
        tuple(b.nodes),
        (*given, *b.state_inputs),
        tuple(value.name for value in (*outputs, *b.state_results)),
        states=(len(b.state_inputs), len(b.state_results)),
        notes=tuple(b.notes),
    )


def _model(
    b: Builder, model: Entry, path: tuple[str, ...], given: Sequence[Value] | None
) -> tuple[list[Value], list[Value]]:
    """Return (inputs, outputs) of a model; ``given`` instead of its own inputs for a nested one."""
    plan = topology(model)
    values: dict[Ref, Value] = {}
    taken: list[Value] = []
    for ref in plan.inputs:
        layer = next((call.layer for call in plan.calls if call.layer.name == ref.layer), None)
        place = len(taken)
        if given is not None and place >= len(given):
            raise DialectError("a model called with too few values", tensor=".".join(path))
        values[ref] = given[place] if given is not None else input_of(b, model, layer, plan.calls)
        taken.append(values[ref])
    for call in plan.calls:
        if call.layer.class_name == "InputLayer":
            continue
        args = [_filled(values, arg) for arg in call.args]
        kwargs = {key: _filled(values, value) for key, value in call.kwargs.items()}
        where = (*path, call.layer.name)
        site = Site(call.layer, where, tuple(values_in(args)), kwargs | {"args": args})
        before = len(b.unmasked)
        for i, value in enumerate(apply(b, site)):
            values[Ref(call.layer.name, call.number, i)] = value
        if len(b.unmasked) > before:
            values |= {r: masked(v, None) for r, v in values.items() if v.name in b.unmasked}
        if len(b.nodes) > _MAX_NODES:
            raise DialectError("a network of more operations than can be written")
    return taken, [_value(values, ref) for ref in plan.outputs]


def apply(b: Builder, site: Site) -> list[Value]:
    """Return what a call gives.

    Raises:
        LossyError: a class that no rule covers.
    """
    layer = site.layer
    b.enter(site)
    if layer.name in b.stubs and not is_model(layer):
        weights = [b.weight(path) for path in b.paths_of(site.path)]
        return [b.add("stub", (*site.inputs, *weights), about=layer.name)]
    try:
        if layer.class_name not in RULES and not is_model(layer):
            raise site.refuse(f"{layer.class_name} cannot be written as a network")
        if not layer.class_name.startswith(PREFIX):
            site = with_masks(bound(with_constants(b, site)))
            check_dtype(b, site)
        if is_model(layer):
            require_inference(b, site)
            return _model(b, layer, site.path, site.inputs)[1]
        return _written(b, site)
    except (DialectError, LossyError) as error:
        error.hint = error.hint or (None if is_model(layer) else by_hand(layer.name))
        raise


def _written(b: Builder, site: Site) -> list[Value]:
    require_inference(b, site)
    if site.layer.class_name in _IN_FLOATS:
        inputs = tuple(masked(floats(b, x), x.mask) for x in site.inputs)
        site = replace(site, inputs=inputs)
    try:
        return RULES[site.layer.class_name](b, site)
    except (TypeError, ValueError, LookupError, AttributeError, StopIteration) as error:
        reason = str(error) or "values are missing"
        raise DialectError(
            f"a configuration that cannot be followed: {reason}"[:300], tensor=site.where
        ) from None


def _time_distributed(b: Builder, site: Site) -> list[Value]:
    inner = site.layer.inner("layer")
    if inner is None:
        raise DialectError("a TimeDistributed without a layer", tensor=site.where)
    x = site.x
    direct = inner.class_name in _BY_NUMBER
    if direct:
        return apply(b, Site(inner, site.path, site.inputs))
    if x.mask is not None and x.mask.rank != 3:
        if inner.class_name in _TAKE_MASKS or (is_model(inner) and not is_heedless(inner)):
            raise site.refuse("TimeDistributed of a layer that takes masks, with a mask")
        mask = None
    else:
        mask = x.mask and b.add("fold", (x.mask,), (None, *x.mask.shape[2:]), name="mask")
    folded = b.add("fold", (x,), (None, *x.shape[2:]))
    outs = apply(b, Site(inner, site.path, (masked(folded, mask),)))
    shapes = [(*x.shape[:2], *out.shape[1:]) for out in outs]
    return [
        masked(b.add("unfold", (out, x), shape), _mask_of_steps(b, site, out))
        for out, shape in zip(outs, shapes, strict=True)
    ]


def _mask_of_steps(b: Builder, site: Site, out: Value) -> Value | None:
    """Return the mask behind a TimeDistributed: Keras 2 gives on what the inner layer masks."""
    mask = site.x.mask
    if b.version >= (3, 0) or (out.mask is None and mask is None):
        return mask if mask is not None and mask.rank == 2 else None
    if b.version < (2, 2) and (out.mask is not None or (mask and mask.rank > 2)):
        raise site.refuse("TimeDistributed over masked steps, by a Keras before 2.2")
    if out.mask is not None:
        shape = (*site.x.shape[:2], *out.mask.shape[1:])
        return b.add("unfold", (out.mask, site.x), shape, name="mask", dtype="bool")
    if mask is not None and mask.rank > 2:
        return b.add("any", (mask,), mask.shape[:2], name="mask", axes=tuple(range(2, mask.rank)))
    return mask


def _value(values: Mapping[Ref, Value], ref: Ref) -> Value:
    if ref not in values:
        raise DialectError(f"a configuration that takes what nothing gives: {ref.layer}")
    return values[ref]


def _filled(values: Mapping[Ref, Value], item: Any) -> Any:
    if isinstance(item, Ref):
        return _value(values, item)
    return [_filled(values, one) for one in item] if isinstance(item, list) else item


_IN_FLOATS = {"Dense", "BatchNormalization", "UnitNormalization", "Normalization", "Rescaling"}
"""Layers that take whole numbers, too, and compute with floats."""
_TAKE_MASKS = {*recurrent.RULES, "Bidirectional", "GlobalAveragePooling1D", "Softmax"}
RULES: Mapping[str, Rule] = {
    **elementwise.RULES,
    **structure.RULES,
    **upsampling.RULES,
    **merge.RULES,
    **attention.RULES,
    **plain.RULES,
    **convolutions.RULES,
    **conv_lstm.RULES,
    **recurrent.RULES,
    **bidirectional.RULES,
    **graph_ops.RULES,
    "TimeDistributed": _time_distributed,
}
