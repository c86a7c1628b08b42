"""Deciding the kind of a layer from its parameters and from what else is known of it.

Evidence is asked in this order, and the first that leaves one kind decides:

1. ``--kind PATH=KIND``;
2. what the file says: the module's class, or torch's ``_metadata`` version;
3. names and shapes of the parameters, and of the other layers in the file;
4. the name of the module.

What remains ambiguous is kept as such: it matters only if the target treats the candidates
differently (``ckptconv.dialects.state_dict``), and then the conversion is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ckptconv.checkpoint import Module
from ckptconv.errors import AmbiguousKindError, DialectError
from ckptconv.graph.axes import fits, sizes_said
from ckptconv.graph.forms import Forms, classes, slots
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import KINDS, PARAMETER, Family
from ckptconv.options import KindHint
from ckptconv.tensors.tensor import Tensor

_WORDS: dict[str, tuple[str, ...]] = {}
"""Words in a module's name → the kinds that they speak for."""
for _kind in KINDS.values():
    if _kind.words:
        _WORDS[_kind.words] = (*_WORDS.get(_kind.words, ()), _kind.name)


@dataclass
class Evidence:
    """What is known beside a layer's own parameters.

    Attributes:
        kinds: path → what the user said.
        modules: path → what the file says.
        kernel_ranks: the ranks of all weights in the file.
        previous: the layer before this one in the file.
        columns: those of the table of layers to look in; the first that fits counts.
    """

    kinds: Mapping[str, KindHint] = field(default_factory=dict)
    modules: Mapping[str, Module] = field(default_factory=dict)
    kernel_ranks: frozenset[int] = frozenset()
    previous: Layer | None = None
    columns: Sequence[Forms] = ()

    def said(self, path: str) -> dict[str, Any]:
        """Return the hyper-parameters that the file records of a module, or the user says."""
        module, hint = self.modules.get(path), self.kinds.get(path)
        recorded = dict(module.attributes) if module else {}
        return {**recorded, **(hint.arguments if hint else {})}


@dataclass(frozen=True)
class Recognised:
    """What the evidence leaves.

    Attributes:
        kinds: the candidates, the likeliest first.
        columns: kind → the column of the table whose names these are.
        evidence: what narrowed them last.
    """

    kinds: tuple[str, ...]
    columns: Mapping[str, Forms]
    evidence: str


def recognise(
    path: str,
    params: Mapping[str, Tensor],
    evidence: Evidence,
) -> Recognised | None:
    """Return the kinds that parameters of a module can be, or None if no kind fits.

    Args:
        params: own name → values.

    Raises:
        DialectError: what the user says contradicts the parameters.
        AmbiguousKindError: the candidates would read the axes differently.
    """
    shapes = {name: tensor.shape for name, tensor in params.items()}
    said = evidence.said(path)
    fitting = [(kind, c) for c in evidence.columns for kind in c if fits(kind, shapes, c, said)]
    found = dict(reversed(fitting))
    candidates = tuple(dict.fromkeys(kind for kind, _ in fitting))
    hint = evidence.kinds.get(path)
    if hint is not None:
        if hint.kind != PARAMETER and hint.kind not in found:
            raise DialectError(
                f"cannot be a {hint.kind}",
                tensor=path,
                expected=" or ".join(found) or "no known layer",
                found=", ".join(f"{name} {shape}" for name, shape in shapes.items()),
            )
        return Recognised((hint.kind,), found, "--kind")
    reason = "parameter names and shapes"
    for source, narrow in _SOURCES:
        narrowed = narrow(path, candidates, evidence, shapes) if len(candidates) > 1 else None
        if narrowed and narrowed != candidates:
            candidates, reason = narrowed, source
    relaid = {tuple(_relaid(kind, found[kind])) for kind in candidates}
    if len(relaid) > 1:
        raise ambiguous(path, candidates, shapes)
    return Recognised(candidates, found, reason) if candidates else None


def _relaid(kind: str, column: Forms) -> list[str]:
    """Return the parameters that this column stores in other axes than the canonical graph."""
    return [param.name for param, slot in slots(kind, column) if slot and slot.axes != param.axes]


def ambiguous(
    path: str, kinds: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> AmbiguousKindError:
    """Return the error that names the candidates and the options that decide."""
    return AmbiguousKindError(
        "the file does not tell which layer this is",
        kinds=kinds,
        tensor=path,
        expected=" or ".join(kinds),
        found=", ".join(f"{name} {shape}" for name, shape in shapes.items()),
        hint=" or ".join(f"--kind {path}={kind}" for kind in kinds),
    )


Narrow = Callable[
    [str, tuple[str, ...], Evidence, Mapping[str, tuple[int, ...]]], "tuple[str, ...] | None"
]


def _by_class(
    path: str, candidates: tuple[str, ...], evidence: Evidence, _: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...] | None:
    module = evidence.modules.get(path)
    name = module.class_name if module else None
    called = {name} | {kind for c in evidence.columns for kind in classes(c).get(name or "", ())}
    return tuple(kind for kind in candidates if kind in called) or None


def _by_sizes(
    path: str, candidates: tuple[str, ...], evidence: Evidence, _: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...] | None:
    """Prefer a kind that only a recorded hyper-parameter tells, such as a depthwise kernel."""
    hidden = [kind for kind in candidates if KINDS[kind].sizes]
    said = evidence.said(path)
    told = [kind for kind in hidden if max(sizes_said(KINDS[kind], said).values(), default=1) > 1]
    return tuple(told or (kind for kind in candidates if kind not in hidden))


def _by_version(
    path: str, candidates: tuple[str, ...], evidence: Evidence, _: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...] | None:
    """torch's _NormBase has version 2; every other module that concerns us has version 1."""
    module = evidence.modules.get(path)
    if module is None or module.version is None:
        return None
    batch = module.version >= 2
    return tuple(k for k in candidates if (KINDS[k].family is Family.BATCH_NORM) == batch)


def _by_neighbours(
    path: str,  # noqa: ARG001
    candidates: tuple[str, ...],
    evidence: Evidence,
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, ...] | None:
    """Tell 3-D normalisation from the others by the convolutions of the file."""
    normalising = [kind for kind in candidates if KINDS[kind].family is Family.BATCH_NORM]
    deep = [kind for kind in normalising if KINDS[kind].rank == 3]
    if not deep:
        return None
    shallow = tuple(kind for kind in candidates if kind not in deep)
    if 5 not in evidence.kernel_ranks:
        return shallow
    before = evidence.previous
    if before is None or "o" not in (axes := _weight_axes(before)):
        return None
    channels = before.params["weight"].shape[axes.index("o")]
    if (channels,) not in shapes.values():
        return None
    return tuple(deep) if KINDS[before.kind].rank == 3 else shallow


def _weight_axes(layer: Layer) -> str:
    kind = KINDS.get(layer.kind)
    return next((param.axes for param in kind.params if param.name == "weight"), "") if kind else ""


def by_name(
    path: str, candidates: tuple[str, ...], _: Evidence, __: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...] | None:
    """Let the words of the last component that is not a number speak, if they agree."""
    parts = [part for part in path.split(".") if not part.isdigit()]
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parts[-1] if parts else "").lower()
    rank = re.search(r"([123])d", word)
    if rank:
        candidates = tuple(k for k in candidates if KINDS[k].rank == int(rank[1])) or candidates
    word = re.sub(r"\d+[a-z]?(?=_|$)", "", word)
    meant = [
        kinds
        for pattern, kinds in _WORDS.items()
        if re.search(rf"(?:^|_)(?:{pattern})(?:_|$)", word) and set(kinds) & set(candidates)
    ]
    return tuple(k for k in candidates if k in meant[0]) if len(meant) == 1 else None


_SOURCES: tuple[tuple[str, Narrow], ...] = (
    ("class in the file", _by_class),
    ("hyper-parameters in the file", _by_sizes),
    ("_metadata version", _by_version),
    ("other layers of the file", _by_neighbours),
    ("name of the module", by_name),
)
