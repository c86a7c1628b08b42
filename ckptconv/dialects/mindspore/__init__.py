"""MindSpore's names, as ``mindspore.nn`` and ``mindspore.mint.nn`` have them.

``nn.LSTM``, ``GRU``, ``RNN`` and their cells use torch's names, shapes and gate order; the hardware
rearranges them at run time, so a checkpoint is the same for CPU, GPU and Ascend.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.mindspore.flat_lstm import lift_flat
from ckptconv.dialects.mindspore.layers import FORMS, MINT
from ckptconv.dialects.mindspore.training_state import training_state
from ckptconv.dialects.state_dict import Lowered, lift_columns, lower_layer
from ckptconv.graph.forms import Forms
from ckptconv.graph.graph import Graph, Layer
from ckptconv.options import Options
from ckptconv.passes.check_ascend import ascend_notes
from ckptconv.passes.fold_projection import without_projections
from ckptconv.passes.gate_convention import reinterpret

_NN_ONLY = frozenset(["gamma", "beta", "moving_mean", "moving_variance", "embedding_table"])
_MINT_ONLY = frozenset(["running_mean", "running_var", "num_batches_tracked"])


def lift(checkpoint: Checkpoint, options: Options) -> Graph:
    """Return the graph of a MindSpore checkpoint.

    Raises:
        DialectError: names and shapes that contradict each other.
        CkptconvError: ``--gates`` and its like fit no layer (``ckptconv.passes.gate_convention``).
    """
    state = training_state(checkpoint.tensors)
    kept = {
        state.renamed.get(name, name): tensor
        for name, tensor in checkpoint.tensors.items()
        if name not in state.omitted
    }
    flat, taken = lift_flat(kept, options.kinds, options.device_layout, checkpoint.path)
    rest = replace(checkpoint, tensors={n: t for n, t in kept.items() if n not in taken})
    kinds = {path: hint for path, hint in options.kinds.items() if path not in _paths(flat)}
    return Graph(
        flat + reinterpret(lift_columns(rest, _columns(rest.tensors), kinds), options),
        "mindspore",
        tensors=checkpoint.tensors,
        omitted={**checkpoint.omitted, **state.omitted},
        notes=[*checkpoint.notes, *state.notes],
    )


def _columns(names: Iterable[str]) -> list[Forms]:
    """Tell mint's names, which are torch's, from nn's by the parameters that only one has."""
    leaves = {name.rpartition(".")[2] for name in names}
    told = [column for column, own in ((FORMS, _NN_ONLY), (MINT, _MINT_ONLY)) if leaves & own]
    return told or [FORMS, MINT]


def _paths(layers: list[Layer]) -> set[str]:
    return {layer.path for layer in layers}


def lower(graph: Graph, options: Options, *, forms: Forms = FORMS) -> Lowered:
    """Return parameters under the names of ``mindspore.nn``.

    Args:
        forms: the column whose names are written.

    Raises:
        LossyError: a projected LSTM (``proj_size``) without ``--fold-proj``, or a layer that the
            device asked for cannot run.
        AmbiguousKindError: a layer whose kind decides its names and is not known.
    """
    lowered = Lowered()
    for layer in without_projections(graph, "MindSpore", fold=options.fold_proj):
        notes = [*layer.notes, *ascend_notes(layer, options.device)]
        layer = replace(layer, notes=notes)  # the graph stays as it is
        if layer.recurrent:
            named = {layer.full_name(name): tensor for name, tensor in layer.params.items()}
            lowered.add(layer, Lowered(named))
        else:
            lowered.add(layer, lower_layer(layer, forms, "mindspore"))
    return lowered
