"""What the sizes beside a layer tell of its kind: what the next takes, and what the last gave."""

from __future__ import annotations

from ckptconv.dialects.evidence import Evidence
from ckptconv.dialects.names import by_name, embeds
from ckptconv.graph.kinds import KINDS, Family

_TABLES = ("Embedding", "EmbeddingBag")
_KERNELS = (Family.CONVOLUTION, Family.TRANSPOSED)
_NEAR = 8


def by_flow(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """Tell a table from a matrix: an embedding gives its columns to the next layer, a Linear its
    rows, and takes its columns from the one before. The name must say the same."""
    tables = tuple(kind for kind in candidates if kind in _TABLES)
    if not tables or "Linear" not in candidates or [*evidence.params] != ["weight"]:
        return None
    rows, columns = evidence.params["weight"].shape
    gives_rows = rows in evidence.into and columns not in evidence.into
    last = not evidence.into and columns in evidence.out and rows != columns
    if embeds(evidence.path):
        return tables if _gives_columns(evidence) else None
    named = by_name(evidence.path, candidates) == ("Linear",)
    return ("Linear",) if named and (gives_rows or last) else None


def by_channels(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """Tell a kernel from what has its shape, and what it is from its transpose, by the channels of
    the layers beside it. Which of the two it is, the name must say too, or a norm of its rows."""
    found = tuple(kind for kind in candidates if _family(kind) in _KERNELS)
    if not found or "weight" not in evidence.params:
        return None
    rows, columns = evidence.params["weight"].shape[:2]
    direction, named = _direction(evidence, rows, columns), by_name(evidence.path, found)
    spoken = {_family(kind) for kind in named or ()}
    normed = evidence.into == {rows} and (columns > 1 or not evidence.before)
    if direction and (spoken == {direction} or (not spoken and normed)):
        return tuple(kind for kind in found if _family(kind) is direction)
    beside = rows in evidence.into or columns in evidence.out
    if beside and not direction and spoken == {Family.CONVOLUTION}:
        return tuple(kind for kind in candidates if _family(kind) is not Family.NORM)
    return None


def _direction(evidence: Evidence, rows: int, columns: int) -> Family | None:
    """Return what a kernel is whose outputs the next layer takes, or that takes the last one's."""
    for around, plain, transposed in (
        (evidence.into, rows, columns),
        (evidence.out, columns, rows),
    ):
        if (plain in around) != (transposed in around):
            return Family.CONVOLUTION if plain in around else Family.TRANSPOSED
    return None


def likeliest(evidence: Evidence, candidates: tuple[str, ...]) -> tuple[str, ...]:
    """Return the candidates in the order in which they are advised; this decides none."""
    params, named = evidence.params, by_name(evidence.path, candidates) or ()
    shape = params["weight"].shape if "weight" in params else ()
    table = len(shape) == len(params) + 1 == 2 and (
        embeds(evidence.path) or (_gives_columns(evidence) and evidence.out != {shape[1]})
    )
    into = shape[1:2] == (*evidence.into,) != shape[:1] and len(shape) > 2
    families = {_family(kind) for kind in candidates}
    turned = into and Family.TRANSPOSED in families
    before = reversed(evidence.before[-_NEAR:])
    kernels = (KINDS[layer.kind].rank for layer in before if _family(layer.kind) in _KERNELS)
    near = next(kernels, 0)
    tracked = any(name.startswith(("running_", "moving_")) for name in params)

    def unlikely(kind: str) -> tuple[bool, ...]:
        family = _family(kind)
        against = turned and family is Family.CONVOLUTION
        instance = kind.startswith("BatchNorm") and not tracked
        looked_up = table and kind not in _TABLES
        flat = family in _KERNELS and KINDS[kind].rank != near > 0
        return against, kind not in named, looked_up, family not in _KERNELS, flat, instance

    return tuple(sorted(candidates, key=unlikely))


def _gives_columns(evidence: Evidence) -> bool:
    rows, columns = evidence.params["weight"].shape
    return columns in evidence.into and rows not in evidence.into


def _family(kind: str) -> Family | None:
    return KINDS[kind].family if kind in KINDS else None
