"""Keras's ``model_config`` read as data: a tree of class names and settings, never built.

Source of the format: ``get_config`` of Keras's models and wrappers, Keras 1 to 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One layer or model of a configuration."""

    class_name: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.config.get("name", ""))

    @property
    def snake(self) -> str:
        """The class in snake case, as Keras names its groups in ``.weights.h5``."""
        return snake_case(self.class_name)

    def layers(self) -> list[Entry]:
        """Return a model's layers in its order; empty for what is no model."""
        return _entries(self.config.get("layers"))

    def inner(self, key: str) -> Entry | None:
        """Return what a wrapper wraps: ``layer``, ``backward_layer`` or ``cell``."""
        return entry(self.config.get(key))

    def cells(self) -> list[Entry]:
        """Return the cells of StackedRNNCells."""
        return _entries(self.config.get("cells"))


def entry(value: object) -> Entry | None:
    """Return a serialised object as an Entry, or None for anything else."""
    if not isinstance(value, Mapping):
        return None
    name, config = value.get("class_name"), value.get("config")
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        config = {"layers": config}
    if not isinstance(name, str) or not isinstance(config, dict):
        return None
    return Entry(name.rpartition(">")[2], config)


def _entries(value: object) -> list[Entry]:
    found = [entry(item) for item in value] if isinstance(value, list) else []
    return [item for item in found if item is not None]


def snake_case(name: str) -> str:
    """Return a class name as Keras names its groups: conv2d_transpose for Conv2DTranspose."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
