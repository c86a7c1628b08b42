"""aten operators that give images and sequences another size."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.dialects.torch.network.call import Operator, Rule
from ckptconv.graph.network import Value


def _repeated(o: Operator) -> None:
    """Repeat along the last axes, as often as their scales or sizes say."""
    x = o.tensor("input")
    for axis, times in enumerate(_scales(o, x), 2):
        if times is None or times < 1 or times != int(times):
            raise o.refuse("scales that are no whole numbers")
        if times > 1:
            x = o.between("repeat", x, times=int(times), axis=axis)
    o.program.same(o.outputs[0], x)


def _scales(o: Operator, x: Value) -> list[float | None]:
    """Return how many times as large each axis becomes; None for one of which that is free."""
    o.rest_is_told()
    if scales := o.get("scale_factors"):
        return list(scales)
    pairs = zip(x.shape[2:], o.shape[2:], strict=True)
    return [new / old if old and new else None for old, new in pairs]


def _interpolated(o: Operator) -> None:
    """Interpolate between pixels, of which MindSpore wants to know how many there will be."""
    x, corners = o.tensor("input"), bool(o.get("align_corners", False))
    given = zip(x.shape[2:], o.shape[2:], _scales(o, x), strict=True)
    sizes = tuple(new for old, new, scale in given if old and scale and new == old * scale)
    if len(sizes) < x.rank - 2:
        raise o.refuse("sizes that are free, or are not what a scale makes of them")
    if x.rank == 4:
        o.give("interpolate", x, sizes=sizes, corners=corners)
        return
    image = o.between("expand", x, shape=(*x.shape[:2], 1, x.shape[2]), axis=2)
    shape = (*x.shape[:2], 1, *sizes)
    image = o.between("interpolate", image, shape=shape, sizes=(1, *sizes), corners=corners)
    o.give("squeeze", image, axis=2)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d"), _repeated),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), _interpolated),
}
