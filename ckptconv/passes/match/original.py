"""A Keras model's own file as a target: what it tells of layers, and the names that it loads by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.errors import CkptconvError, DialectError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.hints import USER
from ckptconv.graph.kinds import without_rank
from ckptconv.graph.lowered import Dropped, Lowered, Made
from ckptconv.passes.match.places import Place, as_stored, layers_of, places_in
from ckptconv.passes.match.slashed import plain, renamed, titles
from ckptconv.passes.match.written import NEUTRAL
from ckptconv.spelling import option
from ckptconv.tensors.ops import reshape
from ckptconv.tensors.tensor import FilledTensor, Tensor, trace


@dataclass(frozen=True)
class Original:
    """A target network of Keras's, by its file or by a list of names with slashes.

    Attributes:
        variant: the layout that is to be written.
        layers: path → layer of the file, where it is one.
        places: name in the file → where it belongs.
        held: plain name → the parameters of its layer that the file keeps there.
        dropped: what layers of the file have not, and change nothing.
    """

    file: Checkpoint
    variant: str
    layers: Mapping[str, Layer]
    places: Mapping[str, Place]
    held: Mapping[str, set[str]]
    dropped: tuple[Dropped, ...] = ()

    @classmethod
    def of(cls, target: Checkpoint, variant: str, graph: Graph) -> Original:
        """Read what is wanted.

        Args:
            graph: what is to be written.

        Raises:
            CkptconvError: the target's file has the other layout.
        """
        facts, held = target.facts, target.tensors
        _require_layout(target, variant)
        names = plain(held, titles(facts))
        found = {name: Place(new, held[name].shape) for name, new in names.items()}
        paths = {layer.path for layer in graph}
        there = layers_of(target, paths) if isinstance(facts, KerasFacts) else None
        known = places_in(there, variant) if there else {}
        count = Counter(place.name for place in {**found, **known}.values())
        found |= {name: place for name, place in known.items() if count[place.name] == 1}
        layers = {layer.path: layer for layer in there or ()}
        kept = dict[str, set[str]]()
        for layer in map(as_stored, layers.values()):
            for param, tensor in layer.params.items():
                for name in there.origin.provenance.names(tensor) if there else ():
                    kept.setdefault(found[name].name, set()).add(param)
        return cls(target, variant, layers, found, kept)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The parameters under plain names, in the shapes in which layers are written."""
        held = self.file.tensors
        return {p.name: reshape(held[name], p.shape) for name, p in self.places.items()}

    @property
    def advice(self) -> str:
        """What would tell more than a file of weights alone; ``""`` where this is none."""
        facts = self.file.facts
        if not isinstance(facts, KerasFacts) or facts.config is not None:
            return ""
        fuller = "like.keras" if facts.layout == "weights.h5" else "like.h5"
        return f"; {option('like', fuller)}, by model.save({fuller!r}), tells of wrappers and norms"

    def telling(self, graph: Graph) -> tuple[Original, Graph]:
        """Return a graph whose layers have the settings of those of the file that have their paths
        and shapes, without the ones and zeros that these have not, and may be what these are:
        shapes decide."""
        layers = tuple(map(self._told, graph))
        rests = (x.params.keys() - y.params.keys() for x, y in zip(graph, layers, strict=True))
        pairs = zip(graph, rests, strict=True)
        left = tuple(Dropped(layer.params[n], NEUTRAL) for layer, rest in pairs for n in rest)
        return replace(self, dropped=left), replace(graph, layers=layers)

    def _told(self, layer: Layer) -> Layer:
        other = self.layers.get(layer.path)
        if other is None or isinstance(layer, RecurrentLayer):
            return layer
        shapes = {name: t.shape for name, t in layer.params.items()}
        if any(shapes.get(name) != t.shape for name, t in other.params.items()):
            return layer
        spare = {name for name, t in other.params.items() if _is_neutral(layer.params[name], t)}
        layer = replace(layer, params={n: t for n, t in layer.params.items() if n not in spare})
        said, own = {**other.attributes, **layer.attributes}, layer.candidates or (layer.kind,)
        if without_rank(other.kind) not in map(without_rank, own):
            if layer.evidence == USER:
                return layer
            layer = replace(layer, candidates=(*own, other.kind))
        return replace(layer, attributes=said)

    def named(self, lowered: Lowered) -> Lowered:
        """Return what was matched by plain names under the file's own, in its order of layers."""
        for made in lowered.made:
            self._require_same(made, lowered.tensors)
        held, own = self.file.tensors, {place.name: name for name, place in self.places.items()}
        shaped = {n: reshape(t, held[own[n]].shape) for n, t in lowered.tensors.items()}
        result = renamed(replace(lowered, tensors=shaped), own)
        facts = self.file.facts if isinstance(self.file.facts, KerasFacts) else None
        facts_of = facts_in(held, facts, self.variant)
        return replace(result, facts=facts_of, dropped=(*lowered.dropped, *self.dropped))

    def _require_same(self, made: Made, tensors: Mapping[str, Tensor]) -> None:
        """Refuse what shapes let pass: numbers that name a scale here, and a shift there."""
        origins = {name: _origins(tensor) for name, tensor in made.layer.params.items()}
        for name in made.names:
            other = self.layers.get(name.rpartition(".")[0])
            if other is None or other.kind != made.layer.kind:
                continue
            own = _origins(tensors[name])
            found = {param for param, each in origins.items() if each & own}
            wanted = self.held.get(name, found)
            if not wanted <= found:
                raise DialectError(
                    f"{option('like')}: another parameter of the layer",
                    tensor=name,
                    expected=", ".join(sorted(wanted)),
                    found=", ".join(sorted(found)),
                )


def _origins(tensor: Tensor) -> set[int]:
    return set(map(id, trace(tensor).origins))


def _is_neutral(tensor: Tensor, filled: Tensor) -> bool:
    """Tell whether a parameter is what reading gave the layer of the file, which has none."""
    return isinstance(filled, FilledTensor) and bool((tensor.numpy() == filled.value).all())


def facts_in(names: Iterable[str], target: KerasFacts | None, variant: str) -> KerasFacts:
    """Return the order of layers and weights that the target's own file has, or its list."""
    if variant == "weights.h5":
        return KerasFacts("weights.h5", names=target.names if target else {})
    if target is not None and target.weights:
        return KerasFacts("legacy", weights=target.weights)
    weights: dict[str, list[str]] = {}
    for name in names:
        layer, _, weight = name.partition("/")
        weights.setdefault(layer, []).append(weight)
    return KerasFacts("legacy", weights={layer: tuple(own) for layer, own in weights.items()})


def _require_layout(target: Checkpoint, variant: str) -> None:
    facts = target.facts
    if isinstance(facts, KerasFacts) and facts.layout != (variant or "legacy"):
        numbered = facts.layout == "weights.h5"
        expected = ".weights.h5" if numbered else ".h5, and not .weights.h5"
        saving = "save('like.h5')" if numbered else "save_weights('like.weights.h5')"
        raise CkptconvError(
            f"{option('like')}: a file of another layout",
            file=target.path,
            expected=f"a name that ends in {expected} for what is written",
            hint=f"that, or what model.{saving} of this model writes",
        )
