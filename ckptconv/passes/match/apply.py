"""``--like``: a graph under the names of a target network, all of it or not at all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ckptconv.dialects.infer_kind import ambiguous
from ckptconv.errors import AmbiguousKindError, DialectError, UnmatchedError, listed
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.lowered import Dropped, Lowered, Made
from ckptconv.passes.cast import DTYPES
from ckptconv.passes.match.bare import with_other_names
from ckptconv.passes.match.engine import Order, match
from ckptconv.passes.match.fills import filled
from ckptconv.passes.match.lacking import ANOTHER_DTYPE, WITHOUT_BUFFERS
from ckptconv.passes.match.plan import Entry, Plan
from ckptconv.passes.match.sides import (
    Form,
    Source,
    Target,
    are_equal,
    key,
    knows_dtypes,
    sources,
    targets,
)
from ckptconv.passes.match.written import Lower
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ckptconv.passes.match.original import Original

_SHOWN = 4
_EVIDENCE = "parameters of the target network"


@dataclass(frozen=True)
class Matching:
    """A plan, what it speaks of, the modules whose kind, on which values depend, is open, and the
    target where it is Keras's, which has names of its own."""

    plan: Plan
    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    filled: Mapping[str, Tensor]
    unsure: Mapping[str, AmbiguousKindError]
    original: Original | None = None


def matching(
    graph: Graph,
    wanted: Mapping[str, Tensor],
    lowerings: Sequence[Lower],
    *,
    fill: Mapping[str, str] | None = None,
    called: Order | None = None,
) -> Matching:
    """Pair the modules of a graph with those of a target network.

    Args:
        wanted: the target's parameters in its order, with values where it has them.
        lowerings: the ways of writing one layer; the target decides for each.
        fill: module or parameter of the target → ``zeros``, ``ones`` or ``target``.
        called: paths of modules in the order in which either network calls them.

    Raises:
        DialectError: ``fill``, or a path that the user gave, is not in the target.
    """
    made = filled(wanted, fill or {})
    open_ = {name: tensor for name, tensor in wanted.items() if name not in made}
    dtypes = knows_dtypes(open_)
    mine = sources(graph, lowerings, dtypes=dtypes)
    theirs = targets(open_, mine, dtypes=dtypes)
    mine = with_other_names(mine, theirs)
    said = {s.module.path: s.module.path for s in mine if _is_said(s, graph)}
    plan = match([s.module for s in mine], [t.module for t in theirs], said=said, called=called)
    by_path = {s.module.path: s for s in mine}, {t.module.path: t for t in theirs}
    unsure = _unsure(plan, *by_path)
    doubts = {path: str(error) for path, error in unsure.items()}
    return Matching(plan.doubting(doubts), *by_path, made, unsure)


def lowered(found: Matching, *, order: bool = False) -> Lowered:
    """Return the graph under the target's names.

    Args:
        order: accept what is proposed by order.

    Raises:
        AmbiguousKindError: nothing is open but kinds of layers.
        DialectError: what is tied on one side is not so, or not there, on the other.
        UnmatchedError: not all is forced, or accepted; ``plan`` is the whole plan.
    """
    plan = found.plan
    paired = not plan.impossible and (order or not plan.proposed)
    if paired and found.unsure.keys() == {entry.source for entry in plan.ambiguous} != set():
        raise AmbiguousKindError.of([*found.unsure.values()])
    if plan.ambiguous or not paired:
        raise _unmatched(found)
    result = _Result(found.targets)
    pairs = plan.pairs(order=order)
    for path, source in found.sources.items():
        if path in pairs:
            result.take(source, found.targets[pairs[path]])
        else:
            result.left += next(iter(source.forms.values())).tensors.values()
    result.leave_ties(found.targets)
    for name, tensor in found.filled.items():
        result.add(name, tensor, "filled")
    notes = (*result.notes, *plan.moves(order=order))
    return Lowered(result.tensors, tuple(result.made), tuple(result.dropped), notes)


class _Result:
    """What was written so far."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.made: list[Made] = []
        self.dropped: list[Dropped] = []
        self.notes: list[str] = []
        self._partners: dict[Hashable, list[str]] = {}
        for target in targets.values():
            for leaf, tensor in target.tensors.items():
                self._partners.setdefault(key(tensor), []).append(target.names[leaf])
        self._first: dict[Hashable, str] = {}
        self.left: list[Tensor] = []
        self._written: set[Hashable] = set()

    def take(self, source: Source, target: Target) -> None:
        form = _form(source, target)
        for layer, part in form.layers:
            kept = {
                target.names[name]: tensor
                for name, tensor in part.tensors.items()
                if name not in form.left_out
            }
            self.tensors |= kept
            self._written |= set(map(key, kept.values()))
            self.made.append(Made(_settled(layer, source), tuple(kept)))
            self.left += (part.tensors[name] for name in form.left_out & part.tensors.keys())
            self.dropped += part.dropped
            self.notes += part.notes
        for leaf, tensor in target.tensors.items():
            self._complete(key(tensor), target.names[leaf])

    def _complete(self, place: Hashable, name: str) -> None:
        """Give the target's tied names the tensor that one of them got.

        Raises:
            DialectError: another of them got other values.
        """
        if name not in self.tensors:
            return
        first = self._first.setdefault(place, name)
        if not are_equal(self.tensors[first], self.tensors[name]):
            raise DialectError(
                f"{option('like')}: the target has one tensor for two of the source",
                tensor=name,
                expected=f"the values of {first}, to which it is tied in the target",
                found="other values",
            )
        for partner in self._partners[place] if first == name else ():
            if partner not in self.tensors:
                self.add(partner, self.tensors[name], f"tied to {name} in the target")

    def leave_ties(self, targets: Mapping[str, Target]) -> None:
        """Account for tied parameters that either side holds under another name.

        Raises:
            DialectError: that name is none of the other side's.
        """
        rule = "tied: the target has the same tensor under another name"
        for tensor in self.left:
            if key(tensor) not in self._written:
                raise DialectError(f"a tied parameter of {tensor.shape} has no place in the target")
            self.dropped.append(Dropped(tensor, rule))
        wanted = (name for target in targets.values() for name in target.names.values())
        if lacking := [name for name in wanted if name not in self.tensors]:
            raise DialectError(
                f"{option('like')}: the source has no values for {listed(lacking, _SHOWN)}",
                hint=option("fill", dict.fromkeys(lacking[:_SHOWN], "zeros")),
            )

    def add(self, name: str, tensor: Tensor, evidence: str) -> None:
        self.tensors[name] = tensor
        layer = Layer(name, PARAMETER, {"": tensor}, evidence=evidence)
        self.made.append(Made(layer, (name,)))


def _is_said(source: Source, graph: Graph) -> bool:
    form = next(iter(source.forms.values()))
    return any(layer.path in graph.named for layer, _ in form.layers)


def _unsure(
    plan: Plan, sources: Mapping[str, Source], targets: Mapping[str, Target]
) -> dict[str, AmbiguousKindError]:
    found = {}
    for path, new in plan.pairs(order=True).items():
        for layer, _ in _form(sources[path], targets[new]).layers:
            if len(layer.candidates) > 1:
                found[path] = ambiguous(layer.hint_path, layer.candidates, layer.params)
    return found


def _form(source: Source, target: Target) -> Form:
    structures = source.module.structures
    return next(source.forms[s] for s in structures if s in target.module.structures)


def _settled(layer: Layer, source: Source) -> Layer:
    """Say so where the target has decided the kind."""
    kinds = {one.kind for form in source.forms.values() for one, _ in form.layers}
    return replace(layer, evidence=_EVIDENCE) if len(kinds) > 1 and layer.candidates else layer


def _unmatched(found: Matching) -> UnmatchedError:
    plan = found.plan
    problems = [*plan.impossible, *plan.ambiguous, *plan.proposed]
    lines = listed(map(_told, problems), _SHOWN, "; ")
    hints = [option("map", "map.toml")]
    dtypes = {t.dtype for target in found.targets.values() for t in target.tensors.values()}
    wanted = [name for name, dtype in DTYPES.items() if dtype in dtypes]
    if len(wanted) == 1 and any(ANOTHER_DTYPE in entry.why for entry in plan.impossible):
        hints.insert(0, option("dtype", wanted[0]))
    if not plan.ambiguous and not plan.impossible:
        hints.insert(0, option("like_order", True))
    if any(entry.why.endswith(WITHOUT_BUFFERS) for entry in plan.impossible):
        hints.insert(0, "a list of all of state_dict() in torch, of get_parameters() in MindSpore")
    advice = found.original.advice if found.original else ""
    return UnmatchedError(
        f"{option('like')}: {plan.counts()}: {lines}",
        plan=plan,
        hint=f"{' or '.join(hints)}; match drafts the map{advice}",
    )


def _told(entry: Entry) -> str:
    doubt = f", but {entry.warning}" if entry.warning else ""
    return f"{entry.ends}: {entry.why}{doubt}"
