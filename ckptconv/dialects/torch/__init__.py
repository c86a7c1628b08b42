"""torch's names: ``state_dict`` keys, dotted by module, as the canonical graph has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ckptconv.checkpoint import Checkpoint, TorchFacts, ties
from ckptconv.dialects.prefixes import advice, names_in_file, without_wrappers
from ckptconv.dialects.state_dict import as_named, lift_columns, lower_layer, lower_layers
from ckptconv.dialects.torch.constants import as_layer, constants, with_constants
from ckptconv.dialects.torch.layers import FORMS
from ckptconv.dialects.torch.parametrized import without_parametrizations
from ckptconv.dialects.torch.quantized import without_quantization
from ckptconv.dialects.torch.weight_drop import without_weight_drop
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.lowered import Lowered
from ckptconv.options import ReadOptions
from ckptconv.spelling import option

if TYPE_CHECKING:
    from ckptconv.graph.network import Network

_KERAS = "_torch_params"


def lift(checkpoint: Checkpoint, options: ReadOptions) -> Graph:
    """Return the graph of a state_dict.

    Raises:
        DialectError: names and shapes that contradict each other.
        LossyError: a parametrization that only code tells (``parametrized``), or
            quantized weights without leave (``quantized``).
    """
    _check_own(checkpoint)
    bare = without_wrappers(checkpoint)
    plain = without_parametrizations(without_quantization(bare, options), options)
    plain = without_weight_drop(plain, options)
    layers = tuple(_told(layer, plain) for layer in lift_columns(plain, [FORMS], options.kinds))
    origin = replace(checkpoint, modules=plain.modules)
    notes = (*plain.notes, *advice(plain.tensors, options))
    names = names_in_file(checkpoint, bare)
    omitted = {names.get(name, name): rule for name, rule in plain.omitted.items()}
    return Graph(layers, "torch", origin, omitted=omitted, notes=notes)


def _check_own(checkpoint: Checkpoint) -> None:
    """Refuse the state_dict of a Keras model, whose layers are torch modules on that backend."""
    for name in checkpoint.tensors if _KERAS in "\n".join(checkpoint.tensors) else ():
        if _KERAS in name.split("."):
            raise DialectError(
                "of a layer of Keras on torch's backend, with the axes and gates of Keras",
                tensor=name,
                expected="a file of Keras",
                hint="model.save_weights('model.weights.h5'), or model.save('model.keras')",
            )


def _told(layer: Layer, checkpoint: Checkpoint) -> Layer:
    """Mark a recurrent layer of which the file says that it is torch's own."""
    if not isinstance(layer, RecurrentLayer):
        return layer
    module, facts = checkpoint.modules.get(layer.path), checkpoint.facts
    is_own = module is not None and module.class_name == layer.kind
    is_program = isinstance(facts, TorchFacts) and facts.program is not None
    return replace(layer, gates_known=True) if is_own or is_program else layer


def lift_with_network(
    checkpoint: Checkpoint,
    options: ReadOptions,
    stubs: tuple[str, ...] = (),
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
    if stubs:
        problem = "is for layers of Keras: a torch.export archive has operators"
        raise DialectError(f"{option('stubs')} {problem}")
    from ckptconv.dialects.torch import network
    from ckptconv.graph.attention import in_steps

    graph = lift(checkpoint, options)
    graph = replace(graph, layers=tuple(in_steps(graph)))
    held, layers = constants(graph.origin), {layer.path: layer for layer in graph}
    known = {name: as_layer(name, tensor) for name, tensor in held.items()} | layers
    found = network.read(program, known, ties(graph.origin.tensors))
    return with_constants(graph, {node.layer or "" for node in found}), found


def lower(graph: Graph, variant: str = "") -> Lowered:  # noqa: ARG001
    """Return a state_dict's tensors; what came from torch keeps all it had."""
    if graph.dialect == "torch":
        return lower_layers(graph, as_named)
    return lower_layers(graph, lambda layer: lower_layer(layer, FORMS, "torch"))
