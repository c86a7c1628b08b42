"""Layers with weights that are not recurrent: dense, embedding, convolutions, normalisations."""

from __future__ import annotations

from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.network.builder import Builder, Site, masked
from ckptconv.dialects.keras.network.elementwise import activate
from ckptconv.dialects.keras.network.structure import (
    are_channels_last,
    channels_first,
    channels_last,
    conv_length,
    integer,
    integers,
    moved,
    padded,
    per_axis,
)
from ckptconv.dialects.keras.separable import DEPTHWISE, POINTWISE
from ckptconv.graph.forms import classes
from ckptconv.graph.network import Value

_VOLUMES = 5
"""The rank whose BatchNorm MindSpore gives other names."""


def dense(b: Builder, site: Site) -> list[Value]:
    x = site.x
    units = integer(site, "units", "output_dim")
    made = b.add("module", (x,), (*x.shape[:-1], units), layer=b.path(site))
    return [activate(b, masked(made, x.mask), site.get("activation"), site.where)]


def embedding(b: Builder, site: Site) -> list[Value]:
    tokens = site.x
    size = integer(site, "output_dim")
    whole = tokens if tokens.dtype == "int32" else b.add("to_int", (tokens,), dtype="int32")
    made = b.add("module", (whole,), (*tokens.shape, size), layer=b.path(site), dtype="float32")
    if not site.get("mask_zero", default=False):
        return [made]
    mask = b.add("differs", (whole,), name="mask", dtype="bool", value=0)
    return [masked(made, mask)]


def conv(b: Builder, site: Site) -> list[Value]:
    x, last = _first(b, site)
    filters, groups = _outputs(site, x.shape[1])
    made = _convolved(b, site, x, b.path(site), filters, groups)
    made = channels_last(b, made) if last else made
    return [activate(b, made, site.get("activation"), site.where)]


def separable(b: Builder, site: Site) -> list[Value]:
    x, last = _first(b, site)
    channels, each = x.shape[1], site.get("depth_multiplier", default=1)
    if channels is None or type(each) is not int or each < 1:
        raise site.refuse("a depthwise convolution of an unknown number of channels")
    x = _convolved(b, site, x, b.part(site, DEPTHWISE), channels * each, channels)
    shape = (x.shape[0], integer(site, "filters", "nb_filter"), *x.shape[2:])
    made = b.add("module", (x,), shape, layer=b.part(site, POINTWISE), padding=0, stride=1)
    made = channels_last(b, made) if last else made
    return [activate(b, made, site.get("activation"), site.where)]


def _first(b: Builder, site: Site) -> tuple[Value, bool]:
    """Return the input with its channels first, and whether they were last."""
    last = are_channels_last(site)
    return (channels_first(b, site.x) if last else site.x), last


def _convolved(b: Builder, site: Site, x: Value, path: str, filters: int, groups: int) -> Value:
    rank = x.rank - 2
    size, stride, dilation = (
        _windows(site, rank, *keys)
        for keys in (("kernel_size", "filter_length"), ("strides", "subsample_length"),
                     ("dilation_rate", "atrous_rate"))
    )  # fmt: skip
    padding = site.get("padding", "border_mode", default="valid")
    lengths = tuple(
        conv_length(n, k, s, padding, d)
        for n, k, s, d in zip(x.shape[2:], size, stride, dilation, strict=True)
    )
    if padding == "causal":
        x = padded(b, x, [(dilation[0] * (size[0] - 1), 0)], 2)
    elif padding == "same" and max(stride) > 1:
        x, padding = _padded_same(b, x, size, stride, dilation)
    return b.add(
        "module",
        (x,),
        (x.shape[0], filters, *lengths),
        layer=path,
        stride=list(stride),
        dilation=list(dilation),
        padding="same" if padding == "same" else 0,
        groups=groups,
    )


def _outputs(site: Site, channels: int | None) -> tuple[int, int]:
    """Return the number of a convolution's outputs, and of the groups of its inputs."""
    if not site.layer.class_name.startswith("Depthwise"):
        return integer(site, "filters", "nb_filter"), site.get("groups", default=1)
    if channels is None:
        raise site.refuse("a depthwise convolution of an unknown number of channels")
    each = site.get("depth_multiplier", default=1)
    return channels * (each if type(each) is int and each > 0 else 1), channels


def _padded_same(
    b: Builder, x: Value, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Value, str]:
    """Pad as Keras does, by an amount that depends on the length; return what is left to pad."""
    reach = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    pairs = []
    for n, k, s in zip(x.shape[2:], reach, stride, strict=True):
        if n is None:
            return b.add("pad_same", (x,), (*x.shape[:2], *(None for _ in size)), size=reach,
                         stride=stride), "same"  # fmt: skip
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pairs.append((total // 2, total - total // 2))
    return (padded(b, x, pairs, 2) if any(map(any, pairs)) else x), "valid"


def conv_transpose(b: Builder, site: Site) -> list[Value]:
    x, rank = site.x, site.x.rank - 2
    last = are_channels_last(site)
    x = channels_first(b, x) if last else x
    size = _windows(site, rank, "kernel_size")
    stride = _windows(site, rank, "strides")
    dilation = _windows(site, rank, "dilation_rate")
    same = site.get("padding", default="valid") == "same"
    small = any(k < s for k, s in zip(size, stride, strict=True))
    if small or max(dilation) > 1 or site.get("output_padding") is not None:
        raise site.refuse("a transposed convolution with these strides, dilation or output_padding")
    whole = tuple(
        None if n is None else (n - 1) * s + k
        for n, s, k in zip(x.shape[2:], stride, size, strict=True)
    )
    made = b.add(
        "module", (x,), (x.shape[0], integer(site, "filters"), *whole), layer=b.path(site),
        stride=list(stride), dilation=1, padding=0, output_padding=0, groups=1,
    )  # fmt: skip
    cuts = [((k - s) // 2, k - s - (k - s) // 2) for k, s in zip(size, stride, strict=True)]
    if same and any(map(any, cuts)):
        lengths = tuple(
            None if n is None else n * s for n, s in zip(x.shape[2:], stride, strict=True)
        )
        ends = tuple((left, -right if right else None) for left, right in cuts)
        made = b.add("crop", (made,), (*made.shape[:2], *lengths), first=2, ends=ends)
    made = channels_last(b, made) if last else made
    return [activate(b, made, site.get("activation"), site.where)]


def batch_norm(b: Builder, site: Site) -> list[Value]:
    x, (axis, *more) = site.x, integers(site, "axis")
    if more or not -x.rank <= axis < x.rank or site.get("mode", default=0) != 0:
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
    rows = b.add("rows", (x,), (None, x.shape[-1]), size=x.shape[-1] or -1)
    made = b.add("module", (rows,), layer=path, kind="BatchNorm1d")
    return b.add("like", (made, x), x.shape)


def layer_norm(b: Builder, site: Site) -> list[Value]:
    x = site.x
    axes = sorted(n % x.rank for n in integers(site, "axis"))
    if site.get("rms_scaling"):
        raise site.refuse("LayerNormalization with rms_scaling")
    if not (site.get("scale", default=True) or site.get("center", default=True)):
        return [masked(_without_weights(b, site, tuple(axes)), x.mask)]
    if axes != list(range(x.rank - len(axes), x.rank)) or 0 in axes:
        raise site.refuse("LayerNormalization over axes that are not the last")
    if len(axes) > 1 and len(axes) != x.rank - 1:
        raise site.refuse("LayerNormalization over several axes, but not all of them")
    return [masked(b.add("module", (x,), layer=b.path(site)), x.mask)]


def _without_weights(b: Builder, site: Site, axes: tuple[int, ...]) -> Value:
    """Norm without a scale and a centre, of which the file holds nothing."""
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(site.x.shape))
    mean = b.add("mean", (site.x,), shape, axes=axes, keep=True)
    centred = b.add("subtract", (site.x, mean))
    variance = b.add("mean", (b.add("square", (centred,)),), shape, axes=axes, keep=True)
    number = float(site.get("epsilon", default=1e-3))
    return b.add(
        "divide", (centred, b.add("sqrt", (b.add("add_number", (variance,), number=number),)))
    )


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
        slopes = b.add(
            "parameter", (), (), layer=b.part(site, "alpha"), name="alpha", dtype="float32"
        )
        below = b.add("multiply", (b.add("relu", (b.add("negative", (x,)),)), slopes))
        return [masked(b.add("subtract", (b.add("relu", (x,)), below)), x.mask)]
    made = b.add("module", (channels_first(b, x),), layer=b.path(site))
    return [masked(channels_last(b, made), x.mask)]


def _windows(site: Site, rank: int, *keys: str) -> tuple[int, ...]:
    """Return a size for each axis, 1 where the configuration has none."""
    said = any(key in site.layer.config for key in keys)
    return per_axis(site, rank, *keys) if said else (1,) * rank


DENSE = tuple(name for name, kinds in classes(FORMS).items() if "Linear" in kinds)

RULES = {
    **dict.fromkeys(DENSE, dense),
    "Embedding": embedding,
    **dict.fromkeys(
        ("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "DepthwiseConv1D", "DepthwiseConv2D"), conv
    ),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), separable),
    **{f"Conv{n}DTranspose": conv_transpose for n in (1, 2, 3)},
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "RMSNormalization": rms_norm,
    "UnitNormalization": unit_norm,
    "PReLU": prelu,
}
