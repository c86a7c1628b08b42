"""Keras's ``model_config`` read as data: a tree of class names and settings, never built.

Source of the format: ``get_config`` of Keras's models and wrappers, Keras 1 to 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ckptconv.dialects.keras.branches import functional

_PACKAGES = ("keras", "tf_keras", "tensorflow")
INERT = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"),
    *("GaussianNoise", "AlphaDropout", "ActivityRegularization", "Identity"),
)
"""Layers that change nothing at inference."""
_CLASSES = {"GroupQueryAttention": "GroupedQueryAttention"}
"""Names under which Keras exports a class that is called otherwise, as groups of weights are."""
_MODELS = ("Sequential", "Functional", "Model", "Graph")


@dataclass(frozen=True)
class Entry:
    """One layer or model of a configuration.

    Attributes:
        class_name: Keras's own classes by their bare name; all others with the package or module
            that they are from, ``own>Dense``, so that no table of Keras's classes knows them.
        input_shape: that it was built for, with the batch in front; None where not recorded.
    """

    class_name: str
    config: Mapping[str, Any]
    input_shape: tuple[int | None, ...] | None = None

    @property
    def name(self) -> str:
        return str(self.config.get("name", ""))

    @property
    def snake(self) -> str:
        """The class in snake case, as Keras names its groups in ``.weights.h5``."""
        name = re.split(r"[>.]", self.class_name)[-1]
        return snake_case(_CLASSES.get(name, name) if self.is_keras else name)

    @property
    def is_keras(self) -> bool:
        """Whether the class is one of Keras's own."""
        return not re.search(r"[>.]", self.class_name)

    @property
    def is_model(self) -> bool:
        """Whether the layers of this configuration are those of a model, and not an option."""
        listed = isinstance(self.config.get("layers"), list)
        return listed and (self.class_name in _MODELS or "input_layers" in self.config)

    def layers(self) -> list[Entry]:
        """Return a model's layers in its order; empty for what is no model."""
        return _entries(self.config.get("layers")) if self.is_model else []

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
        joined = functional(config)
        if joined is not None:
            return Entry("Model", joined)
        config = {"layers": config}
    if not isinstance(name, str) or not isinstance(config, dict):
        return None
    return Entry(full_class(value), config, _input_shape(value))


def full_class(value: Mapping[str, Any]) -> str:
    """Return the class or function that a serialised object names, as ``Entry.class_name`` has it.

    Files up to Keras 2 name no module: there a package in front (``own>Dense``) alone tells.
    """
    name, module, registered = (
        str(value.get(key) or "") for key in ("class_name", "module", "registered_name")
    )
    if ">" in registered or ">" in name:
        return registered if ">" in registered else name
    if not module or module.partition(".")[0] in _PACKAGES:
        return name
    return f"{module}.{name}"


def _input_shape(value: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    built = value.get("build_config")
    shape = built.get("input_shape") if isinstance(built, dict) else None
    if not isinstance(shape, list) or not all(n is None or isinstance(n, int) for n in shape):
        return None
    return tuple(shape)


def _entries(value: object) -> list[Entry]:
    found = [entry(item) for item in value] if isinstance(value, list) else []
    return [item for item in found if item is not None]


@lru_cache(maxsize=256)  # a model has few classes
def snake_case(name: str) -> str:
    """Return a class name as Keras names its groups: conv2d_transpose for Conv2DTranspose."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
