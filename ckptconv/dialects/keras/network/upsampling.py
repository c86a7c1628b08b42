"""Images and sequences made larger (keras.layers.UpSampling2D)."""

from __future__ import annotations

from ckptconv.dialects.keras.network.builder import Builder, Site, masked
from ckptconv.dialects.keras.network.promotion import WHOLE_DTYPES
from ckptconv.dialects.keras.network.structure import (
    are_channels_last,
    channels_first,
    channels_last,
    first_of_space,
    per_axis,
)
from ckptconv.graph.network import Value

_HALF_PIXELS = (2, 4)
"""Since when TensorFlow 2 is sure to be below, whose pixels have their centres at halves."""


def upsample(b: Builder, site: Site) -> list[Value]:
    way = site.get("interpolation", default="nearest")
    if way != "nearest":
        return [_interpolated(b, site, way)]
    first, x = first_of_space(site), site.x
    for axis, n in enumerate(per_axis(site, x.rank - 2, "size", "length"), first):
        size = x.shape[axis]
        shape = (*x.shape[:axis], None if size is None else size * n, *x.shape[axis + 1 :])
        x = b.add("repeat", (x,), shape, times=n, axis=axis) if n != 1 else masked(x, None)
    return [x]


def _interpolated(b: Builder, site: Site, way: str) -> Value:
    """MindSpore's bicubic has other weights, and bilinear needs sizes that are known."""
    if way != "bilinear" or site.x.rank != 4 or site.x.dtype in WHOLE_DTYPES:
        raise site.refuse(f"UpSampling by {way} interpolation")
    if b.version < _HALF_PIXELS:
        raise site.refuse("UpSampling by interpolation of a Keras before 2.4")
    last = are_channels_last(site)
    x = channels_first(b, site.x) if last else site.x
    pairs = zip(x.shape[2:], per_axis(site, 2, "size"), strict=True)
    sizes = tuple(n * times for n, times in pairs if n is not None)
    if len(sizes) < 2:
        raise site.refuse("UpSampling by interpolation of images of any size")
    made = b.add("interpolate", (x,), (*x.shape[:2], *sizes), sizes=sizes)
    return masked(channels_last(b, made) if last else made, None)


RULES = {f"UpSampling{n}D": upsample for n in (1, 2, 3)}
