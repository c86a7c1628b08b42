"""What a live network does otherwise than the source that fills it, which no parameter shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, Module, TorchFacts
from ckptconv.errors import AmbiguousKindError, CkptconvError, DialectError
from ckptconv.graph.graph import Framework, Graph, Layer
from ckptconv.graph.kinds import PARAMETER, without_rank
from ckptconv.graph.lowered import Lowered
from ckptconv.graph.settings import apart
from ckptconv.options import ReadOptions

_BY_BATCH = "use_batch_statistics"


def remarks(graph: Graph, lowered: Lowered, network: Checkpoint) -> list[str]:
    """Return what differs in layers, in modules that hold layers, and what stays as it was.

    Args:
        graph: the source.
        lowered: the same under the network's names.
    """
    kept = [f"the network's own {name} stays: {rule}" for name, rule in network.omitted.items()]
    return [*_other_settings(lowered, network), *_other_parts(graph, network), *kept]


def _other_settings(lowered: Lowered, network: Checkpoint) -> Iterator[str]:
    """Yield what no parameter shows and the network's layers do otherwise than the source's."""
    try:
        there = _lifted(lowered, network)
    except CkptconvError as error:
        yield f"the settings of the network's layers were not compared: {error}"
        return
    origin = there.origin.provenance
    owners = {
        name: layer
        for layer in there
        for tensor in layer.params.values()
        for leaf in origin.trace(tensor).origins
        for name in origin.own(leaf)
    }
    for layer, names in lowered.made:
        others = {id(owners[name]): owners[name] for name in names if name in owners}
        for other in others.values():
            # A BatchNorm3d of MindSpore's holds a BatchNorm2d.
            alike = without_rank(other.kind) == without_rank(layer.kind)
            yield from _told(layer, other, abroad=True) if alike else ()
            if applied := other.attributes.get("activation"):
                yield f"{layer.path}: the network's own layer applies {applied} to its output"


def _other_parts(graph: Graph, network: Checkpoint) -> Iterator[str]:
    """Yield what modules of one class and path, which hold layers, record otherwise."""
    told = {layer.path for layer in graph}
    for path, module in graph.origin.modules.items():
        there = network.modules.get(path)
        if there and there.class_name == module.class_name and path not in told:
            pair = (Layer(path, PARAMETER, {}, attributes=m.attributes) for m in (module, there))
            yield from _told(*pair, abroad=False)


def _told(layer: Layer, own: Layer, *, abroad: bool) -> Iterator[str]:
    for key, said, other in apart(layer, own, abroad=abroad):
        yield f"{layer.path}: {key} is {said!r} in the source; the network's is {other!r}"


def _lifted(lowered: Lowered, network: Checkpoint) -> Graph:
    """Return the graph of a network; a class of the user's own is taken for the source's kind."""
    framework: Framework = "torch" if isinstance(network.facts, TorchFacts) else "mindspore"
    try:
        return pipeline.lift(network, ReadOptions(source=framework))
    except AmbiguousKindError as error:
        made = {name.rpartition(".")[0]: layer for layer, names in lowered.made for name in names}
        known = {path: made[path].kind for path in error.choices if path in made}
        return pipeline.lift(network, ReadOptions(source=framework, kinds=known))


def check_statistics(lowered: Lowered, modules: Mapping[str, Module]) -> None:
    """Refuse a norm by every batch's own statistics for a module that computes with stored ones."""
    for layer, names in lowered.made:
        path = names[0].rpartition(".")[0] if names else ""
        there = modules[path].attributes if path in modules else {}
        is_norm = layer.kind.startswith("BatchNorm") and "running_mean" not in layer.params
        if is_norm and there.get(_BY_BATCH, True) is not True:
            raise DialectError(
                "the source's layer takes its statistics from every batch",
                tensor=path,
                expected=f"{_BY_BATCH}=True in the network",
                found=f"{_BY_BATCH}={there[_BY_BATCH]}",
            )
