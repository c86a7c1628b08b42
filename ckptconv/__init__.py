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
    from ckptconv.checkpoint import Checkpoint
    from ckptconv.errors import (
        AmbiguousKindError,
        CkptconvError,
        ContainerError,
        DialectError,
        LossyError,
        VerificationError,
    )
    from ckptconv.graph import Graph, Layer
    from ckptconv.inprocess import from_torch, load_into
    from ckptconv.report import Report
    from ckptconv.tensor import Tensor

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
    "from_state_dict",
    "from_torch",
    "inspect",
    "load",
    "load_into",
    "save",
    "to_state_dict",
]

_HOME = {
    "checkpoint": ("Checkpoint",),
    "api": ("convert", "from_state_dict", "inspect", "load", "save", "to_state_dict"),
    "graph": ("Graph", "Layer"),
    "inprocess": ("from_torch", "load_into"),
    "report": ("Report",),
    "tensor": ("Tensor",),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _HOME.items() if name in names), "errors")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
