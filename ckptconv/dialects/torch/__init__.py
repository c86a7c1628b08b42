"""torch's names: ``state_dict`` keys, dotted by module, as the canonical graph has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from ckptconv.checkpoint import Checkpoint, TorchFacts
from ckptconv.dialects.state_dict import as_named, lift_columns, lower_layer
from ckptconv.dialects.torch.layers import FORMS
from ckptconv.dialects.torch.network import read as read_network
from ckptconv.dialects.torch.parametrized import without_parametrizations
from ckptconv.dialects.torch.quantized import without_quantization
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.lowered import Lowered, Part, gather
from ckptconv.graph.network import Network
from ckptconv.options import ReadOptions

_PREFIXES = ("module.", "model.")
"""Wrappers around a whole model: DataParallel, Lightning."""
_COMPILED = "_orig_mod."
"""torch.compile's wrapper, around the model or any part of it."""
_AVERAGED = "n_averaged"


def lift(checkpoint: Checkpoint, options: ReadOptions) -> Graph:
    """Return the graph of a state_dict.

    Raises:
        DialectError: names and shapes that contradict each other.
        LossyError: a parametrization that only code tells (``parametrized``), or
            quantized weights without leave (``quantized``).
    """
    plain = without_quantization(_strip(checkpoint), options)
    plain = without_parametrizations(plain, options.kinds)
    layers = tuple(lift_columns(plain, [FORMS], options.kinds))
    origin = replace(checkpoint, modules=plain.modules)
    return Graph(layers, "torch", origin, omitted=plain.omitted, notes=plain.notes)


def lift_with_network(
    checkpoint: Checkpoint,
    options: ReadOptions,
    stubs: tuple[str, ...] = (),  # noqa: ARG001
) -> tuple[Graph, Network]:
    """Return the graph of a torch.export archive, and its network.

    Raises:
        DialectError: a file that records none.
        LossyError: an operator that no network can be written of.
    """
    program = checkpoint.facts.program if isinstance(checkpoint.facts, TorchFacts) else None
    if program is None:
        raise DialectError(
            "the file does not record its network",
            expected="an archive of torch.export.save (.pt2)",
            hint="torch.export.save(torch.export.export(model.eval(), (x,)), 'model.pt2')",
        )
    graph = lift(checkpoint, options)
    return graph, read_network(program, {layer.path: layer.kind for layer in graph})


def lower(graph: Graph, variant: str = "") -> Lowered:  # noqa: ARG001
    """Return a state_dict's tensors; what came from torch keeps all it had."""
    own = graph.dialect == "torch"
    return gather((layer, _part(layer, own=own)) for layer in graph)


def _part(layer: Layer, *, own: bool) -> Part:
    if own or isinstance(layer, RecurrentLayer):
        return as_named(layer)
    return lower_layer(layer, FORMS, "torch")


def _strip(checkpoint: Checkpoint) -> Checkpoint:
    """Take wrappers' prefixes off all names, and what a wrapper keeps beside its model."""
    plain = _renamed(checkpoint, lambda name: f".{name}".replace(f".{_COMPILED}", ".")[1:])
    if plain is not checkpoint:
        plain = _noted(plain, f"'{_COMPILED}' of torch.compile was taken out of the names")
    while prefix := next((p for p in _PREFIXES if _is_common(p, plain.tensors)), None):
        dropped = [name for name in plain.tensors if name == _AVERAGED]
        rule = "how many models AveragedModel has averaged"
        plain = _renamed(
            replace(
                plain,
                tensors={n: t for n, t in plain.tensors.items() if n not in dropped},
                omitted={**plain.omitted, **dict.fromkeys(dropped, rule)},
            ),
            partial(_without, prefix),
        )
        plain = _noted(plain, f"the prefix '{prefix}' was taken off all names")
    return plain


def _noted(checkpoint: Checkpoint, note: str) -> Checkpoint:
    return replace(checkpoint, notes=(*checkpoint.notes, note))


def _without(prefix: str, name: str) -> str:
    return name.removeprefix(prefix)


def _is_common(prefix: str, names: Iterable[str]) -> bool:
    rest = [name for name in names if name != _AVERAGED or prefix != _PREFIXES[0]]
    return bool(rest) and all(name.startswith(prefix) for name in rest)


def _renamed(checkpoint: Checkpoint, rename: Callable[[str], str]) -> Checkpoint:
    """Rename tensors and modules; the path of a wrapper itself becomes that of its content.

    Raises:
        DialectError: two tensors would get one name.
    """
    names = {name: rename(name) for name in checkpoint.tensors}
    if all(old == new for old, new in names.items()):
        return checkpoint
    tensors = {names[name]: tensor for name, tensor in checkpoint.tensors.items()}
    if len(tensors) < len(names):
        raise DialectError(
            "stands in the file with a wrapper's prefix and without",
            tensor=next(new for old, new in names.items() if old != new and new in names),
        )
    modules = {rename(f"{path}.")[:-1]: module for path, module in checkpoint.modules.items()}
    return replace(checkpoint, tensors=tensors, modules=modules)
