"""MindSpore's names, as ``mindspore.nn`` and ``mindspore.mint.nn`` have them.

``nn.LSTM``, ``GRU``, ``RNN`` and their cells use torch's names, shapes and gate order; the hardware
rearranges them at run time, so a checkpoint is the same for CPU, GPU and Ascend.
"""

from __future__ import annotations

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.columns import Lowered, lift_columns, lower_layer
from ckptconv.errors import LossyError
from ckptconv.graph import Graph, Layer
from ckptconv.options import Options
from ckptconv.tensor import Tensor


def lift(checkpoint: Checkpoint, options: Options) -> Graph:
    """Return the graph of a MindSpore checkpoint.

    Raises:
        DialectError: names and shapes that contradict each other.
    """
    return Graph(
        lift_columns(checkpoint, "mindspore", options.kinds),
        "mindspore",
        tensors=checkpoint.tensors,
        omitted=dict(checkpoint.omitted),
        notes=list(checkpoint.notes),
    )


def lower(graph: Graph, options: Options, *, mint: frozenset[str] = frozenset()) -> Lowered:
    """Return parameters under the names of ``mindspore.nn``.

    Args:
        mint: kinds to name as ``mindspore.mint.nn`` does.

    Raises:
        LossyError: a projected LSTM (``proj_size``).
        AmbiguousKindError: a layer whose kind decides its names and is not known.
    """
    del options
    lowered = Lowered()
    for layer in graph:
        if layer.recurrent:
            lowered.add(layer, Lowered(_recurrent(layer)))
        else:
            lowered.add(layer, lower_layer(layer, "mindspore", mint))
    return lowered


def _recurrent(layer: Layer) -> dict[str, Tensor]:
    if any(cell.w_hr is not None for cell in layer.cells().values()):
        raise LossyError(
            "proj_size has no equal in MindSpore",
            tensor=layer.path,
            hint="--fold-proj, which gives an exactly equal LSTM followed by a Dense",
        )
    return {layer.full_name(name): tensor for name, tensor in layer.params.items()}
