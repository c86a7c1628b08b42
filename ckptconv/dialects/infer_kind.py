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

from ckptconv.checkpoint import Module
from ckptconv.errors import AmbiguousKindError, DialectError
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import CLASSES, KINDS, MINT, PARAMETER, fits
from ckptconv.kinds import KindHint
from ckptconv.tensors.tensor import Tensor

_NAMES = (
    # words in a module's name → kinds they speak for
    (r"embed\w*|embs?|wte|wpe|lookup|vocab\w*", ("Embedding", "EmbeddingBag")),
    (
        r"fc|linear\w*|lin|dense|proj\w*|heads?|out|outputs?|decoder|classifier|logits?|affine"
        r"|query|key|value|[qkvo]|mlp|ffn|predictor",
        ("Linear",),
    ),
    (r"ln|lnorm|layer_?norm\w*", ("LayerNorm",)),
    (r"rms|rms_?norm\w*", ("RMSNorm",)),
    (r"gn|group_?norm\w*", ("GroupNorm",)),
    (r"bn|batch_?norm\w*", ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")),
    (r"inst(ance)?_?norm\w*|inorm", ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")),
    (r"p_?relu|act|activation", ("PReLU",)),
    (r"bilinear|bi_?dense", ("Bilinear",)),
    (
        r"deconv\w*|up_?conv|up|transpose\w*|conv_?transpose\w*|conv_?t",
        ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
    ),
    (r"conv", ("Conv1d", "Conv2d", "Conv3d")),
)


@dataclass
class Evidence:
    """What is known beside a layer's own parameters.

    Attributes:
        kinds: path → what the user said.
        modules: path → what the file says.
        kernel_ranks: the ranks of all weights in the file.
        previous: the layer before this one in the file.
    """

    kinds: Mapping[str, KindHint] = field(default_factory=dict)
    modules: Mapping[str, Module] = field(default_factory=dict)
    kernel_ranks: frozenset[int] = frozenset()
    previous: Layer | None = None


@dataclass(frozen=True)
class Recognised:
    """What the evidence leaves.

    Attributes:
        kinds: the candidates, the likeliest first.
        columns: kind → the column of the table whose names these are.
        evidence: what narrowed them last.
    """

    kinds: tuple[str, ...]
    columns: Mapping[str, str]
    evidence: str


def recognise(
    path: str,
    params: Mapping[str, Tensor],
    columns: Sequence[str],
    evidence: Evidence,
    *,
    file: str = "",
) -> Recognised | None:
    """Return the kinds that parameters of a module can be, or None if no kind fits.

    Args:
        params: own name → values.
        columns: the columns of the table to look in; the first that fits counts.

    Raises:
        DialectError: what the user says contradicts the parameters.
        AmbiguousKindError: the candidates would read the axes differently.
    """
    shapes = {name: tensor.shape for name, tensor in params.items()}
    fitting = {
        c: [kind for kind in (MINT if c == "mint" else KINDS) if fits(kind, shapes, c)]
        for c in columns
    }
    found = {kind: c for c in reversed(columns) for kind in fitting[c]}
    candidates = tuple(dict.fromkeys(kind for c in columns for kind in fitting[c]))
    hint = evidence.kinds.get(path)
    if hint is not None:
        if hint.kind != PARAMETER and hint.kind not in found:
            raise DialectError(
                f"cannot be a {hint.kind}",
                file=file,
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


def _relaid(kind: str, column: str) -> list[str]:
    """Return the parameters that this column stores in other axes than the canonical graph."""
    return [row.name for row in KINDS[kind] if row.column(column)[1] != row.axes]


def ambiguous(
    path: str, kinds: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> AmbiguousKindError:
    """Return the error that names the candidates and the options that decide."""
    return AmbiguousKindError(
        "the file does not tell which layer this is",
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
    kind = CLASSES.get(name or "", name)
    return (kind,) if kind in candidates else None


def _by_version(
    path: str, candidates: tuple[str, ...], evidence: Evidence, _: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...] | None:
    """torch's _NormBase has version 2; every other module that concerns us has version 1."""
    module = evidence.modules.get(path)
    if module is None or module.version is None:
        return None
    batch = module.version >= 2
    return tuple(k for k in candidates if k.startswith(("BatchNorm", "InstanceNorm")) == batch)


def _by_neighbours(
    path: str,  # noqa: ARG001
    candidates: tuple[str, ...],
    evidence: Evidence,
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, ...] | None:
    """Tell 3-D normalisation from the others by the convolutions of the file."""
    deep = [kind for kind in candidates if kind in ("BatchNorm3d", "InstanceNorm3d")]
    if not deep:
        return None
    shallow = tuple(kind for kind in candidates if kind not in deep)
    if 5 not in evidence.kernel_ranks:
        return shallow
    before = evidence.previous
    if before is None or not before.kind.startswith(("Conv", "Linear")):
        return None
    kernel = before.params["weight"].shape
    channels = kernel[1 if "Transpose" in before.kind else 0]
    if (channels,) not in shapes.values():
        return None
    return tuple(deep) if before.kind.endswith("3d") else shallow


def by_name(
    path: str, candidates: tuple[str, ...], _: Evidence, __: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...] | None:
    """Let the words of the last component that is not a number speak, if they agree."""
    parts = [part for part in path.split(".") if not part.isdigit()]
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parts[-1] if parts else "").lower()
    rank = re.search(r"[123]d", word)
    if rank:
        candidates = tuple(k for k in candidates if k.endswith(rank[0])) or candidates
    word = re.sub(r"\d+[a-z]?(?=_|$)", "", word)
    meant = [
        kinds
        for pattern, kinds in _NAMES
        if re.search(rf"(?:^|_)(?:{pattern})(?:_|$)", word) and set(kinds) & set(candidates)
    ]
    return tuple(k for k in candidates if k in meant[0]) if len(meant) == 1 else None


_SOURCES: tuple[tuple[str, Narrow], ...] = (
    ("class in the file", _by_class),
    ("_metadata version", _by_version),
    ("other layers of the file", _by_neighbours),
    ("name of the module", by_name),
)
