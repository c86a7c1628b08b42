"""What a user must know of how a layer was recognised, and of what the target's does not do."""

from __future__ import annotations

from ckptconv.dialects.evidence import Evidence
from ckptconv.dialects.narrowing import BY_CHANNELS, BY_FLOW, BY_KERNELS, BY_NEIGHBOURS, BY_SIZE
from ckptconv.graph.forms import classes
from ckptconv.graph.kinds import PARAMETER
from ckptconv.spelling import option

_ASSUMED = "taken for {} by its name and the sizes around it; {} if it is another"
_WORD = "taken for {} by its name; {} keeps its parameter as it is"
_BESIDE = "taken for {} by the channels of the layers beside it; {} if it is another"
_SLOPE = "taken for {}, since one value normed over itself is a constant; {} if it is another"
_DEEP = "taken for {} by the kernel before it; {} if its input is no volume"
_FLAT = "taken for no norm of volumes, since no kernel is one; {} if it is one"
_OWN = "class {} is taken to compute what {} does"
_OWN_CELL = (
    "stands beside others that make no cell of torch's: a class of its own; {} (or GRUCell, "
    "RNNCell) takes the others for that"
)
_HOLDS = "holds {} too, as no {} does: what its class does with both, the file does not tell"
_MAX_NORM = (
    "max_norm={}: torch's layer shortens longer rows when it looks them up, the target's does not; "
    "the rows are carried as they are"
)
_UNFIT = "of a {} whose parameters no such layer has here: kept as they are, and no call is known"


def unfit(evidence: Evidence) -> tuple[str, ...]:
    """Return the notes on parameters that no row of the table explains, though their class is."""
    name = evidence.class_name
    known = evidence.hint is None and any(name in classes(c) for c in evidence.columns)
    return (_UNFIT.format(name),) if known else ()


def by_word(kind: str) -> str:
    """Return the note on a lone parameter that only the module's name tells from a user's own."""
    return _WORD.format(kind, option("kinds", {"PATH": PARAMETER}))


def own_cell() -> str:
    """Return the note on parameters that have names of a cell beside names that no cell has."""
    return _OWN_CELL.format(option("kinds", {"PATH": "LSTMCell"}))


def remarks(evidence: Evidence, kind: str, decided: str) -> tuple[str, ...]:
    """Return the notes on a layer.

    Args:
        decided: what decided its kind.
    """
    name = evidence.class_name
    own = "." in name and evidence.hint is None
    inner = evidence.inner
    limit = evidence.said.get("max_norm")
    deep = decided == BY_NEIGHBOURS and kind == "BatchNorm3d"
    other, volumes = (option("kinds", {"PATH": of}) for of in ("KIND", "BatchNorm3d"))
    return (
        *([_OWN.format(name, kind)] if own else []),
        *([_HOLDS.format(inner, kind)] if inner and not evidence.is_told else []),
        *([_MAX_NORM.format(limit)] if limit is not None and kind.startswith("Embedding") else []),
        *([_ASSUMED.format(kind, other)] if decided == BY_FLOW else []),
        *([_BESIDE.format(kind, other)] if decided == BY_CHANNELS else []),
        *([_SLOPE.format(kind, other)] if decided == BY_SIZE else []),
        *([_FLAT.format(volumes)] if decided == BY_KERNELS else []),
        *([_DEEP.format(kind, other)] if deep else []),
    )
