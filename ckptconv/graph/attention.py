"""An attention whose weights stand by themselves, as who computes it step by step takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.tensors.tensor import Tensor

LAST = "out_proj"


def in_steps(
    layers: Iterable[Layer], wanted: Callable[[Layer], bool] = lambda _: True
) -> Iterator[Layer]:
    """Yield layers, those of a MultiheadAttention that is wanted so as its weights and a Linear."""
    for layer in layers:
        if layer.kind != "MultiheadAttention" or not wanted(layer):
            yield layer
            continue
        last: dict[str, Tensor] = {}
        for name, tensor in layer.params.items():
            if name.startswith(f"{LAST}."):
                last[name.removeprefix(f"{LAST}.")] = tensor
            else:
                yield Layer(layer.full_name(name), PARAMETER, {"": tensor}, evidence=layer.evidence)
        yield Layer(layer.full_name(LAST), "Linear", last, evidence=layer.evidence)
