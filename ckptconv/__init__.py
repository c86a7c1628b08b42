"""Convert weight checkpoints of recurrent models between PyTorch, Keras and MindSpore.

>>> import ckptconv
>>> report = ckptconv.convert("model.pt", "model.ckpt", to="mindspore")

Names are imported when first used, so that ``ckptconv --help`` does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ckptconv.api import convert, from_state_dict, inspect, load, save, to_state_dict
    from ckptconv.batch import convert_many
    from ckptconv.checkpoint import Checkpoint
    from ckptconv.errors import (
        AmbiguousKindError,
        CkptconvError,
        ContainerError,
        DialectError,
        LossyError,
        VerificationError,
    )
    from ckptconv.graph.graph import Graph, Layer
    from ckptconv.live import from_torch, load_into
    from ckptconv.report import Report
    from ckptconv.tensors.tensor import Tensor
    from ckptconv.verification.diff import diff
    from ckptconv.verification.golden import golden
    from ckptconv.verification.replay import replay
    from ckptconv.verification.roundtrip import roundtrip
    from ckptconv.verification.verify import verify

__all__ = [
    "AmbiguousKindError",
    "Checkpoint",
    "CkptconvError",
    "ContainerError",
    "DialectError",
    "Graph",
    "Layer",
    "LossyError",
    "Report",
    "Tensor",
    "VerificationError",
    "convert",
    "convert_many",
    "diff",
    "from_state_dict",
    "from_torch",
    "golden",
    "inspect",
    "load",
    "load_into",
    "replay",
    "roundtrip",
    "save",
    "to_state_dict",
    "verify",
]

_HOME = {
    "batch": ("convert_many",),
    "checkpoint": ("Checkpoint",),
    "api": ("convert", "from_state_dict", "inspect", "load", "save", "to_state_dict"),
    "graph.graph": ("Graph", "Layer"),
    "live": ("from_torch", "load_into"),
    "verification.diff": ("diff",),
    "verification.golden": ("golden",),
    "verification.replay": ("replay",),
    "verification.roundtrip": ("roundtrip",),
    "verification.verify": ("verify",),
    "report": ("Report",),
    "tensors.tensor": ("Tensor",),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _HOME.items() if name in names), "errors")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
