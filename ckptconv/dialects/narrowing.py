"""The kinds of evidence: each narrows the candidates for a layer, or says nothing."""

from __future__ import annotations

from collections.abc import Callable

from ckptconv.dialects.evidence import REPORT, Evidence
from ckptconv.dialects.flow import by_channels, by_flow
from ckptconv.graph.axes import sizes_said
from ckptconv.graph.forms import classes
from ckptconv.graph.graph import Layer, RecurrentLayer
from ckptconv.graph.hints import USER
from ckptconv.graph.kinds import KINDS, Family

_NEAR, _MAX_CHANNELS, _VOLUME = 3, 1 << 16, 3

Narrow = Callable[[Evidence, tuple[str, ...]], "tuple[str, ...] | None"]


def by_class(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the candidates that the class in the file may be."""
    name = evidence.class_name
    called = {name} | {kind for c in evidence.columns for kind in classes(c).get(name, ())}
    tracked = name.replace("InstanceNorm", "BatchNorm")  # with running statistics
    found = tuple(kind for kind in candidates if kind in called)
    return found or tuple(kind for kind in candidates if kind == tracked) or None


def _by_sizes(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """Prefer a kind that only a recorded hyper-parameter tells, such as a depthwise kernel."""
    hidden = [kind for kind in candidates if KINDS[kind].sizes]
    said = evidence.said
    told = [kind for kind in hidden if max(sizes_said(KINDS[kind], said).values(), default=1) > 1]
    return tuple(told or (kind for kind in candidates if kind not in hidden))


def _by_version(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """torch's _NormBase has version 2; every other module that concerns us has version 1."""
    version = evidence.module.version
    if version is None:
        return None
    batch = version >= 2
    return tuple(k for k in candidates if (KINDS[k].family is Family.BATCH_NORM) == batch)


def _by_neighbours(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """Tell the rank of a normalisation by the layer before it whose channels it takes."""
    others = tuple(kind for kind in candidates if KINDS[kind].family is not Family.BATCH_NORM)
    channels = next((t.shape[0] for t in evidence.params.values() if t.ndim == 1), None)
    if len(others) == len(candidates) or channels is None:
        return None
    for layer in reversed(evidence.before[-_NEAR:]):
        rank = _rank(layer, channels)
        if rank is None:
            break
        if rank:
            return others + tuple(k for k in candidates if KINDS[k].rank == rank) or None
    return None


def _by_kernels(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """A network that convolves, and over no volumes, normalises none."""
    if all(KINDS[kind].family is not Family.BATCH_NORM for kind in candidates):
        return None
    convolves = evidence.kernel_ranks & {3, 4, 5}
    counted = any(name.startswith(("running_", "moving_")) for name in evidence.params)
    if _VOLUME + 2 in convolves or (counted and not convolves):
        return None
    return tuple(kind for kind in candidates if KINDS[kind].rank != _VOLUME)


def _rank(layer: Layer, channels: int) -> int | None:
    """Return the rank of the space of a layer's output: 0 is any, None has other channels."""
    if isinstance(layer, RecurrentLayer):
        cell = layer.cells[0, 0]
        width = (cell.w_hh.shape[1]) * layer.num_directions
        return 1 if width == channels else None
    kind = KINDS.get(layer.kind)
    if kind is None or "o" not in (axes := _weight_axes(layer)):
        passes = any(tensor.shape == (channels,) for tensor in layer.params.values())
        return 0 if passes else None
    if layer.params["weight"].shape[axes.index("o")] != channels:
        return None
    return kind.rank or 1


def _by_statistics(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """MindSpore's InstanceNorm holds the statistics 0 and 1, which it never uses."""
    moving = [evidence.params.get("moving_mean"), evidence.params.get("moving_variance")]
    plain = tuple(kind for kind in candidates if not kind.startswith("InstanceNorm"))
    if len(plain) == len(candidates) or any(t is None or t.size > _MAX_CHANNELS for t in moving):
        return None
    used = any(
        (tensor.numpy() != value).any()
        for tensor, value in zip(moving, (0, 1), strict=True)
        if tensor
    )
    return plain if used else None


def _by_size(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """One value normed over itself is a constant: a lone weight of one is a slope."""
    alone = [tensor.shape for tensor in evidence.params.values()] == [(1,)]
    return ("PReLU",) if alone and "PReLU" in candidates else None


def _weight_axes(layer: Layer) -> str:
    kind = KINDS.get(layer.kind)
    return next((param.axes for param in kind.params if param.name == "weight"), "") if kind else ""


BY_NEIGHBOURS = "other layers of the file"
BY_KERNELS = "no kernel over volumes in the file"
BY_STATISTICS = "statistics that were used"
BY_FLOW = "name of the module and sizes around it"
BY_CHANNELS = "channels of the layers beside it"
BY_SIZE = "one value alone"
LIKELY = (BY_NEIGHBOURS, BY_KERNELS, BY_STATISTICS, BY_FLOW, BY_CHANNELS, BY_SIZE)
"""Evidence that is no proof: what it decides is told as assumed."""
SAID = (USER, REPORT, "class in the file")
"""Evidence that is somebody's word."""
SOURCES: tuple[tuple[str, Narrow], ...] = (
    ("class in the file", by_class),
    ("hyper-parameters in the file", _by_sizes),
    ("_metadata version", _by_version),
    (BY_NEIGHBOURS, _by_neighbours),
    (BY_KERNELS, _by_kernels),
    (BY_STATISTICS, _by_statistics),
    (BY_FLOW, by_flow),
    (BY_SIZE, _by_size),
    (BY_CHANNELS, by_channels),
)
