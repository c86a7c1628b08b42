"""Layers with weights that are not recurrent: dense, embedding, convolutions, normalisations."""

from __future__ import annotations

import re

from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.network.builder import Builder, Site, masked
from ckptconv.dialects.keras.network.elementwise import activate, number, numbers, since_3
from ckptconv.dialects.keras.network.promotion import WHOLE_DTYPES
from ckptconv.dialects.keras.network.structure import (
    channels_first,
    channels_last,
    integer,
    integers,
    moved,
)
from ckptconv.graph.forms import classes
from ckptconv.graph.network import Value

_DENSE = re.compile(r"(?P<rest>\.\.\.|\w*)(?P<over>\w),(?P=over)(?P<out>\w)->(?P=rest)(?P=out)")
_VOLUMES = 5
"""The rank whose BatchNorm MindSpore gives other names."""
_LEAST = 1e-7
"""Below which a Normalization takes no standard deviation (keras.config.epsilon)."""


def dense(b: Builder, site: Site) -> list[Value]:
    x = site.x
    units = integer(site, "units", "output_dim")
    made = b.add("module", (x,), (*x.shape[:-1], units), layer=b.path(site))
    return [activate(b, masked(made, x.mask), site.get("activation"), site.where)]


def einsum_dense(b: Builder, site: Site) -> list[Value]:
    """A product over the last axis, with a kernel of two, as a Dense's is."""
    x, bias = site.x, site.get("bias_axes")
    found = _DENSE.fullmatch(str(site.get("equation")).replace(" ", ""))
    if not found or bias not in (None, "", found["out"]):
        raise site.refuse("EinsumDense that is no product over the last axis alone")
    letters = "".join(found.group("rest", "over", "out")).replace(".", "")
    rest, units = found["rest"], site.get("output_shape")
    if len({*letters}) < len(letters) or (rest != "..." and len(rest) != x.rank - 1):
        raise site.refuse("EinsumDense of another number of axes")
    units = units[-1] if isinstance(units, list | tuple) else units
    if type(units) is not int:
        raise site.refuse("EinsumDense whose last axis is of no size")
    made = b.add("matmul", (x, b.weight(b.part(site, "kernel"))), (*x.shape[:-1], units))
    if bias:
        made = b.add("add", (made, b.weight(b.part(site, "bias"))))
    return [activate(b, made, site.get("activation"), site.where)]


def embedding(b: Builder, site: Site) -> list[Value]:
    tokens = site.x
    size = integer(site, "output_dim")
    whole = tokens if tokens.dtype == "int32" else b.add("to_int", (tokens,), dtype="int32")
    made = b.add("module", (whole,), (*tokens.shape, size), layer=b.path(site), dtype="float32")
    if not site.get("mask_zero", default=False):
        return [made]
    mask = b.differing(whole, 0)
    return [masked(made, mask)]


def batch_norm(b: Builder, site: Site) -> list[Value]:
    x, (axis, *more) = site.x, integers(site, "axis")
    if more or not -x.rank <= axis < x.rank:
        raise site.refuse("BatchNormalization over several axes")
    axis %= x.rank
    first, *others = (i for i in range(x.rank) if i != axis)
    path = b.path(site)
    if x.rank == _VOLUMES:
        order = (first, axis, *others)
        made = b.add("module", (moved(b, x, order),), layer=path)
    else:
        order = (first, *others, axis)
        made = _norm_of_rows(b, moved(b, x, order), path)
    back = tuple(order.index(i) for i in range(x.rank))
    return [masked(moved(b, made, back), x.mask)]


def _norm_of_rows(b: Builder, x: Value, path: str) -> Value:
    if x.rank == 2:
        return b.add("module", (x,), layer=path, kind="BatchNorm1d")
    rows = b.add("view", (x,), (None, x.shape[-1]), sizes=(-1, x.shape[-1] or -1))
    made = b.add("module", (rows,), layer=path, kind="BatchNorm1d")
    return b.add("like", (made, x), x.shape)


def layer_norm(b: Builder, site: Site) -> list[Value]:
    x = site.x
    axes = sorted(n % x.rank for n in integers(site, "axis"))
    if site.get("rms_scaling") or x.dtype in WHOLE_DTYPES:  # of which Keras gives whole ones
        raise site.refuse("LayerNormalization with rms_scaling, or of whole numbers")
    if not (site.get("scale", default=True) or site.get("center", default=True)):
        return [masked(_without_weights(b, site, tuple(axes)), x.mask)]
    if axes != list(range(x.rank - len(axes), x.rank)) or 0 in axes:
        raise site.refuse("LayerNormalization over axes that are not the last")
    if len(axes) == 1:
        return [masked(b.add("module", (x,), layer=b.path(site)), x.mask)]
    return [masked(b.add("module", (x,), layer=b.path(site), begin_norm_axis=axes[0]), x.mask)]


def _without_weights(b: Builder, site: Site, axes: tuple[int, ...]) -> Value:
    """Norm without a scale and a centre, of which the file holds nothing."""
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(site.x.shape))
    mean = b.add("mean", (site.x,), shape, axes=axes, keep=True)
    centred = b.add("subtract", (site.x, mean))
    variance = b.add("mean", (b.add("square", (centred,)),), shape, axes=axes, keep=True)
    above = b.add("add_number", (variance,), number=number(site, "epsilon", default=1e-3))
    return b.add("divide", (centred, b.add("sqrt", (above,))))


def unit_norm(b: Builder, site: Site) -> list[Value]:
    axis, *more = integers(site, "axis")
    if more:
        raise site.refuse("UnitNormalization over several axes")
    return [masked(b.add("unit", (site.x,), axis=axis % site.x.rank), site.x.mask)]


def rms_norm(b: Builder, site: Site) -> list[Value]:
    x = site.x
    if [n % x.rank for n in integers(site, "axis")] != [x.rank - 1]:
        raise site.refuse("RMSNormalization over an axis that is not the last")
    return [b.add("module", (x,), layer=b.path(site))]


def normalization(b: Builder, site: Site) -> list[Value]:
    """(x - mean) / max(√variance, 1e-7), or back (keras.layers.Normalization.call)."""
    if site.get("mean") is not None:
        return [masked(_by_numbers(b, site), since_3(b, site.x.mask))]
    x, said = site.x, site.get("axis", default=-1)
    axes = {n % x.rank for n in integers(site, "axis")} if said not in (None, []) else set()
    shape = tuple(n if i in axes else 1 for i, n in enumerate(x.shape))
    mean, variance = (
        b.add("view", (b.weight(b.part(site, name)),), shape, sizes=shape)
        for name in ("mean", "variance")
    )
    scale = b.add("clip", (b.add("sqrt", (variance,)),), low=_LEAST, high=None)
    return [masked(_normalized(b, site, mean, scale), since_3(b, x.mask))]


def _normalized(b: Builder, site: Site, mean: Value, scale: Value) -> Value:
    if site.get("invert"):
        return b.add("add", (b.add("multiply", (site.x, scale)), mean))
    return b.add("divide", (b.add("subtract", (site.x, mean)), scale))


def _by_numbers(b: Builder, site: Site) -> Value:
    """Normalize by what the configuration holds, of which the file has no weights."""
    means, variances = numbers(site, "mean"), numbers(site, "variance")
    if min(variances) < 0:
        raise site.refuse("Normalization by a variance below zero")
    if isinstance(site.get("mean"), list) != isinstance(site.get("variance"), list):
        raise site.refuse("Normalization by a mean and variance of other sizes")
    scales = [max(variance**0.5, _LEAST) for variance in variances]
    if isinstance(site.get("mean"), list):
        rows = (_row(b, site, found) for found in (means, scales))
        return _normalized(b, site, *rows)
    (mean,), (scale,) = means, scales
    if site.get("invert"):
        return b.add("affine", (site.x,), scale=scale, offset=mean)
    return b.add("divide_number", (b.add("subtract_number", (site.x,), number=mean),), number=scale)


def _row(b: Builder, site: Site, found: list[float]) -> Value:
    x = site.x
    if [axis % x.rank for axis in integers(site, "axis")] != [x.rank - 1]:
        raise site.refuse("Normalization by numbers along an axis that is not the last")
    if len(found) not in (1, x.shape[-1]):
        raise site.refuse(f"Normalization of {x.shape[-1]} features by {len(found)} numbers")
    return b.add("constant", (x,), (len(found),), numbers=tuple(map(float, found)))


def layer_scale(b: Builder, site: Site) -> list[Value]:
    """The features times a weight for each (keras.applications.convnext)."""
    if not {"init_values", "projection_dim"} <= {*site.layer.config}:
        raise site.refuse("a LayerScale that is not the one of keras.applications")
    return [b.add("multiply", (site.x, b.weight(b.part(site, "gamma"))))]


def group_norm(b: Builder, site: Site) -> list[Value]:
    x = site.x
    if integers(site, "axis")[0] % x.rank != x.rank - 1:
        raise site.refuse("GroupNormalization over an axis that is not the last")
    made = b.add("module", (channels_first(b, x),), layer=b.path(site))
    return [masked(channels_last(b, made), x.mask)]


def prelu(b: Builder, site: Site) -> list[Value]:
    x = site.x
    shared = site.get("shared_axes") or []
    if sorted(shared) != list(range(1, x.rank - 1)):
        slopes = b.weight(b.part(site, "alpha"))
        below = b.add("multiply", (b.add("relu", (b.add("negative", (x,)),)), slopes))
        return [masked(b.add("subtract", (b.add("relu", (x,)), below)), x.mask)]
    made = b.add("module", (channels_first(b, x),), layer=b.path(site))
    return [masked(channels_last(b, made), x.mask)]


DENSE = tuple(name for name, kinds in classes(FORMS).items() if "Linear" in kinds)

RULES = {
    **dict.fromkeys(DENSE, dense),
    "EinsumDense": einsum_dense,
    "Embedding": embedding,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "RMSNormalization": rms_norm,
    "Normalization": normalization,
    "LayerScale": layer_scale,
    "UnitNormalization": unit_norm,
    "PReLU": prelu,
}
