"""Convert weight checkpoints of recurrent models between PyTorch, Keras and MindSpore.

>>> import ckptconv
>>> report = ckptconv.convert("model.pt", "model.ckpt", to="mindspore")  # doctest: +SKIP

Names are imported when first used, so that ``ckptconv --help`` does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ckptconv._version import __version__ as __version__

if TYPE_CHECKING:
    from ckptconv.api import convert, inspect, load, save
    from ckptconv.batch import Outcome, convert_many
    from ckptconv.checkpoint import Checkpoint, Module
    from ckptconv.errors import (
        AmbiguousKindError,
        CkptconvError,
        ContainerError,
        DialectError,
        LossyError,
        SeveralError,
        UnmatchedError,
        UsageError,
        VerificationError,
    )
    from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
    from ckptconv.graph.network import Network
    from ckptconv.live import from_state_dict, from_torch, load_into, to_state_dict
    from ckptconv.live.matching import match
    from ckptconv.networks import network
    from ckptconv.options import ReadOptions, WriteOptions
    from ckptconv.passes.match.plan import Plan
    from ckptconv.report import Report
    from ckptconv.tensors.tensor import Tensor
    from ckptconv.verification.diff import diff
    from ckptconv.verification.golden import golden
    from ckptconv.verification.replay import replay
    from ckptconv.verification.results.layers import VerifyReport
    from ckptconv.verification.results.tensors import DiffReport
    from ckptconv.verification.roundtrip import roundtrip
    from ckptconv.verification.verify import verify

__all__ = [
    "AmbiguousKindError",
    "Checkpoint",
    "CkptconvError",
    "ContainerError",
    "DialectError",
    "DiffReport",
    "Graph",
    "Layer",
    "LossyError",
    "Module",
    "Network",
    "Outcome",
    "Plan",
    "ReadOptions",
    "RecurrentLayer",
    "Report",
    "SeveralError",
    "Tensor",
    "UnmatchedError",
    "UsageError",
    "VerificationError",
    "VerifyReport",
    "WriteOptions",
    "convert",
    "convert_many",
    "diff",
    "from_state_dict",
    "from_torch",
    "golden",
    "inspect",
    "load",
    "load_into",
    "match",
    "network",
    "replay",
    "roundtrip",
    "save",
    "to_state_dict",
    "verify",
]

_HOME = {
    "api": ("convert", "inspect", "load", "save"),
    "batch": ("Outcome", "convert_many"),
    "checkpoint": ("Checkpoint", "Module"),
    "networks": ("network",),
    "graph.network": ("Network",),
    "graph.graph": ("Graph", "Layer", "RecurrentLayer"),
    "live": ("from_state_dict", "from_torch", "load_into", "to_state_dict"),
    "live.matching": ("match",),
    "options": ("ReadOptions", "WriteOptions"),
    "passes.match.plan": ("Plan",),
    "report": ("Report",),
    "tensors.tensor": ("Tensor",),
    "verification.diff": ("diff",),
    "verification.golden": ("golden",),
    "verification.replay": ("replay",),
    "verification.results.layers": ("VerifyReport",),
    "verification.results.tensors": ("DiffReport",),
    "verification.roundtrip": ("roundtrip",),
    "verification.verify": ("verify",),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((module for module, names in _HOME.items() if name in names), "errors")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
