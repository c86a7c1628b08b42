"""torch's names: ``state_dict`` keys, dotted by module, as the canonical graph has them."""

from __future__ import annotations

from dataclasses import replace

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.columns import Lowered, lift_columns, lower_layer
from ckptconv.dialects.parametrized import without_parametrizations
from ckptconv.foreign import reinterpret
from ckptconv.graph import Graph
from ckptconv.options import Options

_PREFIXES = ("module.", "_orig_mod.", "model.")
"""Wrappers around a whole model: DataParallel, torch.compile, Lightning."""


def lift(checkpoint: Checkpoint, options: Options) -> Graph:
    """Return the graph of a state_dict.

    Raises:
        DialectError: names and shapes that contradict each other.
        LossyError: a parametrization that only code tells (``ckptconv.dialects.parametrized``).
        CkptconvError: ``--gates`` and its like fit no layer (``ckptconv.foreign``).
    """
    plain, notes = _strip(without_parametrizations(checkpoint, options.kinds))
    return Graph(
        reinterpret(lift_columns(plain, ["torch"], options.kinds), options),
        "torch",
        tensors=checkpoint.tensors,
        omitted=dict(plain.omitted),
        notes=notes,
        modules=plain.modules,
    )


def lower(graph: Graph, options: Options) -> Lowered:  # noqa: ARG001
    """Return a state_dict's tensors; what came from torch keeps all it had."""
    lowered = Lowered()
    for layer in graph:
        if layer.recurrent or graph.dialect == "torch":
            named = {layer.full_name(name): tensor for name, tensor in layer.params.items()}
            lowered.add(layer, Lowered(named))
        else:
            lowered.add(layer, lower_layer(layer, "torch"))
    return lowered


def _strip(checkpoint: Checkpoint) -> tuple[Checkpoint, list[str]]:
    """Take wrappers' prefixes off all names."""
    tensors, modules = dict(checkpoint.tensors), dict(checkpoint.modules)
    notes = list(checkpoint.notes)
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in tensors)), None):
        if not tensors:
            break
        tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
        modules = {_without(prefix, path): module for path, module in modules.items()}
        notes.append(f"the prefix '{prefix}' was taken off all names")
    return replace(checkpoint, tensors=tensors, modules=modules), notes


def _without(prefix: str, path: str) -> str:
    return path.removeprefix(prefix) if path != prefix[:-1] else ""
