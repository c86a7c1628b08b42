"""Convolutions: plain ones, those of each channel, separable and transposed ones."""

from __future__ import annotations

from ckptconv.dialects.keras.convolution_pairs import DEPTHWISE, POINTWISE
from ckptconv.dialects.keras.network.builder import Builder, Site
from ckptconv.dialects.keras.network.elementwise import activate
from ckptconv.dialects.keras.network.structure import (
    are_channels_last,
    channels_first,
    channels_last,
    conv_length,
    cropped,
    integer,
    padded,
    per_axis,
)
from ckptconv.graph.axes import lacking
from ckptconv.graph.network import Value


def conv(b: Builder, site: Site) -> list[Value]:
    x, last = to_channels_first(b, site)
    filters, groups = _outputs(site, x.shape[1])
    made = convolved(b, site, x, b.path(site), filters, groups)
    made = channels_last(b, made) if last else made
    return [activate(b, made, site.get("activation"), site.where)]


def separable(b: Builder, site: Site) -> list[Value]:
    x, last = to_channels_first(b, site)
    x = convolved(b, site, x, b.part(site, DEPTHWISE), *_depthwise(site, x.shape[1]))
    shape = (x.shape[0], integer(site, "filters", "nb_filter"), *x.shape[2:])
    made = b.add("module", (x,), shape, layer=b.part(site, POINTWISE), padding=0, stride=1)
    made = channels_last(b, made) if last else made
    return [activate(b, made, site.get("activation"), site.where)]


def to_channels_first(b: Builder, site: Site) -> tuple[Value, bool]:
    """Return the input with its channels first, and whether they were last."""
    last = are_channels_last(site)
    return (channels_first(b, site.x) if last else site.x), last


def convolved(b: Builder, site: Site, x: Value, path: str, filters: int, groups: int) -> Value:
    """Append the convolution at a path, with the settings of a layer; channels are first."""
    rank = x.rank - 2
    size, stride, dilation = (
        _sizes(site, rank, *keys)
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
    return _depthwise(site, channels)


def _depthwise(site: Site, channels: int | None) -> tuple[int, int]:
    """Return the same where each input is a group of its own."""
    if channels is None:
        raise site.refuse("a depthwise convolution of an unknown number of channels")
    (each,) = _sizes(site, 1, "depth_multiplier")
    return channels * each, channels


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
        total = lacking(n, k, s)
        pairs.append((total // 2, total - total // 2))
    return (padded(b, x, pairs, 2) if any(map(any, pairs)) else x), "valid"


def conv_transpose(b: Builder, site: Site) -> list[Value]:
    x, last = to_channels_first(b, site)
    rank = x.rank - 2
    size = _sizes(site, rank, "kernel_size")
    stride = _sizes(site, rank, "strides")
    dilation = _sizes(site, rank, "dilation_rate")
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
        made = cropped(b, made, cuts, 2)
    made = channels_last(b, made) if last else made
    return [activate(b, made, site.get("activation"), site.where)]


def _sizes(site: Site, rank: int, *keys: str) -> tuple[int, ...]:
    """Return a size for each axis, 1 where the configuration has none."""
    said = any(key in site.layer.config for key in keys)
    return per_axis(site, rank, *keys) if said else (1,) * rank


RULES = {
    **dict.fromkeys(
        ("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "DepthwiseConv1D", "DepthwiseConv2D"), conv
    ),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), separable),
    **{f"Conv{n}DTranspose": conv_transpose for n in (1, 2, 3)},
}
