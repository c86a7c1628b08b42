"""The frameworks' conventions: names, axes, gate orders, biases.

Each dialect module has ``lift(checkpoint, options) -> Graph`` and
``lower(graph, options) -> Lowered``. No module here opens a file.
Adding a dialect is one module, one row of ``DIALECTS`` and one column, ``FORMS``, of the table of
layers (``ckptconv.graph.kinds``).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import CkptconvError
from ckptconv.graph.forms import Forms, classes
from ckptconv.graph.kinds import KINDS


@dataclass(frozen=True)
class Dialect:
    """A row of the registry.

    Attributes:
        containers: target file suffix → container (with metadata that asks for a variant); the
            longest suffix that fits decides, the first is the default.
    """

    name: str
    module: str
    containers: Mapping[str, tuple[str, Mapping[str, str]]]

    def load(self) -> Any:
        return importlib.import_module(f"{__name__}.{self.module}")

    @property
    def forms(self) -> Forms:
        """The dialect's column of the table of layers."""
        forms: Forms = self.load().FORMS
        return forms


_SAFETENSORS = {
    framework: ("safetensors", {"format": framework}) for framework in ("pt", "ms", "keras")
}
_MINDSPORE = {".ckpt": ("mindspore-ckpt", {}), ".safetensors": _SAFETENSORS["ms"]}
DIALECTS = {
    row.name: row
    for row in (
        Dialect(
            "torch",
            "torch",
            {
                ".pt": ("torch-zip", {}),
                ".pth": ("torch-zip", {}),
                ".bin": ("torch-zip", {}),
                ".safetensors": _SAFETENSORS["pt"],
            },
        ),
        Dialect(
            "keras",
            "keras",
            {
                ".h5": ("hdf5", {"layout": "legacy"}),
                ".weights.h5": ("hdf5", {"layout": "weights.h5"}),
                ".hdf5": ("hdf5", {"layout": "legacy"}),
            },
        ),
        Dialect("mindspore", "mindspore", _MINDSPORE),
        Dialect("mint", "mint", _MINDSPORE),
    )
}

_MINDSPORE_LEAVES = frozenset(
    ["gamma", "beta", "moving_mean", "moving_variance", "embedding_table"]
)
_BY_CONTAINER = {
    "mindspore-ckpt": "mindspore",
    **dict.fromkeys(("hdf5", "keras-zip", "keras-sharded"), "keras"),
}
_BY_FORMAT = {"pt": "torch", "ms": "mindspore"}


def dialect(name: str) -> Dialect:
    """Return a row by name.

    Raises:
        CkptconvError: no such dialect.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        raise CkptconvError(f"unknown framework {name!r}", expected=" or ".join(DIALECTS)) from None


def kind_of(name: str) -> str | None:
    """Return the kind that some framework calls so, in the canonical graph's words or its own."""
    if name in KINDS:
        return name
    called = (classes(row.forms).get(name) for row in DIALECTS.values())
    return next((kinds[0] for kinds in called if kinds), None)


def detect(checkpoint: Checkpoint) -> str:
    """Return the dialect a file speaks: by its container, its own word, or its names."""
    known = _BY_CONTAINER.get(checkpoint.container)
    known = known or _BY_FORMAT.get(str(checkpoint.metadata.get("format")))
    if known is None and checkpoint.container == "safetensors":
        leaves = {name.rpartition(".")[2] for name in checkpoint.tensors}
        known = "mindspore" if leaves & _MINDSPORE_LEAVES else None
    return known or "torch"
