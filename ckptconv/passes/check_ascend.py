"""What Ascend hardware does to LSTM and GRU: they are computed in float16.

Source: ``mindspore/nn/layer/rnns.py``, whose Ascend branch casts weights, biases and states, and
the operator DynamicGRUV2, which takes hidden sizes in steps of 16.
"""

from __future__ import annotations

from dataclasses import replace

from ckptconv.errors import LossyError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.tensors.computed import Cast
from ckptconv.tensors.dtypes import named

_HARDWARE = "ascend"
_FLOAT16 = ("LSTM", "GRU")
_STEP = 16


def check_ascend(graph: Graph, hardware: str | None) -> Graph:
    """Return a graph whose notes say what a user should know before it runs on Ascend.

    Args:
        hardware: ``ascend`` reads all recurrent values; else only shapes are looked at.

    Raises:
        LossyError: ``hardware`` is ``ascend`` and it cannot run a layer.
    """
    layers = []
    for layer in graph:
        found = _remarks(layer, hardware) if isinstance(layer, RecurrentLayer) else []
        layers.append(replace(layer, notes=(*layer.notes, *found)) if found else layer)
    return replace(graph, layers=tuple(layers))


def checked(graph: Graph, hardware: str | None, title: str, *, runs: bool) -> list[str]:
    """Say what was looked at, also when all is well.

    Args:
        title: the target framework.
        runs: whether it runs on that hardware.
    """
    if hardware != _HARDWARE:
        return []
    if not runs:
        return [f"Ascend: nothing was checked, since {title} does not run there"]
    layers = [layer for layer in graph if layer.kind in _FLOAT16]
    values = sum(tensor.size for layer in layers for tensor in layer.params.values())
    return [
        f"Ascend: checked the hidden sizes of {len(layers)} LSTM and GRU layers and their "
        f"{values:,} values against the range of float16; nothing else was checked"
    ]


def _remarks(layer: RecurrentLayer, hardware: str | None) -> list[str]:
    if layer.kind not in _FLOAT16:
        return []
    notes = []
    hidden = layer.cells[0, 0].w_hh.shape[1]
    if layer.kind == "GRU" and hidden % _STEP:
        if hardware == _HARDWARE:
            raise LossyError(
                "Ascend cannot run this GRU",
                tensor=layer.path,
                expected=f"a hidden_size that is a multiple of {_STEP}",
                found=hidden,
                hint="another device, or a GRUCell stepped over the sequence",
            )
        notes.append(f"Ascend refuses GRU with hidden_size {hidden}, no multiple of {_STEP}")
    return notes + (_losses(layer) if hardware == _HARDWARE else [])


def _losses(layer: Layer) -> list[str]:
    """Name the tensors whose values float16 cannot hold."""
    notes = []
    for name, tensor in layer.params.items():
        cast = Cast(tensor, named("float16"))
        for _ in cast.blocks():
            pass
        for count, fate in ((cast.overflowed, "overflow"), (cast.vanished, "vanish")):
            if count:
                notes.append(
                    f"{layer.full_name(name)}: {count} values {fate} in float16, in which Ascend "
                    f"computes {layer.kind}"
                )
    return notes
