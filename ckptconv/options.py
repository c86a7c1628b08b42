"""What a caller can ask of a conversion, in one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptconv.errors import CkptconvError
from ckptconv.kinds import KindHint

_CHOICES = {"device": ("ascend",), "device_layout": ("cpu", "gpu", "ascend")}


@dataclass(frozen=True)
class Options:
    """Options of lifting and lowering; each has the command line's name.

    Attributes:
        kinds: module path → what the user says it is.
        rename: (regular expression, replacement), applied in order to full names.
        allow: approximations that the user accepts by name.
        fold_proj: turn an LSTM's ``proj_size`` into an exactly equal LSTM and a Dense.
        gates: the order of the source's gates where it is not its framework's own: letters
            (``iofc``, ``zrh``) or an ecosystem of ``gates.ORDERS`` (``onnx``); several by spaces.
        forget_bias: what the source adds to the forget gate at run time.
        z_convention: the source's GRU computes h' = (1 - z) ⊙ h + z ⊙ n.
        layout: which of a framework's namings the target file has: Keras's ``legacy`` (the
            default) or ``weights.h5``.
        device_layout: ``cpu`` or ``gpu``: how a MindSpore before 1.6 laid out a flat LSTM weight.
        fuse: (new path, paths): recurrent layers to make one layer of.
        split: paths of recurrent layers to make one layer each of.
        device: ``ascend`` makes what that hardware cannot do an error.
    """

    kinds: Mapping[str, KindHint] = field(default_factory=dict)
    rename: tuple[tuple[str, str], ...] = ()
    allow: frozenset[str] = frozenset()
    fold_proj: bool = False
    gates: str | None = None
    forget_bias: float = 0.0
    z_convention: bool = False
    layout: str = ""
    device_layout: str | None = None
    fuse: tuple[tuple[str, tuple[str, ...]], ...] = ()
    split: tuple[str, ...] = ()
    device: str | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise CkptconvError(f"unknown {name} {value!r}", expected=" or ".join(choices))
