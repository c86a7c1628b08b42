"""What a container yields: names, lazy tensors, and what the file says of its modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptconv.io.reader import Source
from ckptconv.tensors.tensor import Tensor

MAX_TENSORS = 1 << 15
"""Tensors of one file; what a file of millions of them costs to open would stop a service."""


@dataclass(frozen=True)
class Module:
    """What a file itself says of one module.

    Attributes:
        class_name: the class, without its Python package where that is the framework's own
            (``LSTM``, ``Linear``), or ``None`` where the file does not tell.
        version: torch's ``_metadata`` version (2 for BatchNorm and InstanceNorm, else 1).
        attributes: hyper-parameters under the source framework's names (JSON-like values only).
    """

    class_name: str | None = None
    version: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Checkpoint:
    """An ordered mapping from names to lazy tensors, as one file (or set of shards) holds it.

    Attributes:
        container: the registry name of the format (``torch-zip``, ``hdf5``, …).
        tensors: source names, in the file's order.
        modules: path → Module, in the file's order; ``""`` is the root.
        metadata: what else the file tells, JSON-like (``keras_version``, ``model_config``, …).
        omitted: name → the rule by which the container left an entry out.
        notes: remarks for the report.
        sources: the open files, so that a change during the conversion is noticed.
    """

    container: str
    tensors: dict[str, Tensor]
    modules: dict[str, Module] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    path: str = ""
