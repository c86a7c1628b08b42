"""The table of file formats: what they are called, how they begin, where they are read."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from ckptconv.errors import StrPath

if TYPE_CHECKING:
    from ckptconv.checkpoint import Checkpoint
    from ckptconv.io.reader import Source
    from ckptconv.tensors.writer import Progress


class FormatModule(Protocol):
    """What the module of a format has."""

    def sniff(self, source: Source) -> bool:
        """Tell whether a file has this format; cheap, and never raises for another's bytes."""

    def read(self, source: Source, *, select: str | None = None) -> Checkpoint:
        """Read names, shapes and dtypes, no values; ``select`` names the part that is wanted."""


class WritableModule(FormatModule, Protocol):
    """What the module of a format has that can be written."""

    def write(self, checkpoint: Checkpoint, path: str, progress: Progress | None = None) -> None:
        """Fill an existing empty file."""


class Format(NamedTuple):
    """A row of the registry.

    Attributes:
        name: as ``inspect`` and the report call it.
        module: below this package; imported only for files that begin with one of ``starts``.
        about: one line for ``ckptconv formats``.
        suffixes: what its files are usually called.
        starts: the possible first bytes; ``b""`` where only the sniffer can tell.
        writes: whether the module has ``write``.
        shares: whether two names can be one tensor in it.
        parts: whether it may hold several models, of which one is selected.
        beside: whether it names other files, which stand beside it.
    """

    name: str
    module: str
    about: str
    suffixes: tuple[str, ...] = ()
    starts: tuple[bytes, ...] = (b"",)
    writes: bool = False
    shares: bool = False
    parts: bool = False
    beside: bool = False

    def load(self) -> FormatModule:
        return _module(self.module)


@lru_cache  # asked again for each file of a batch
def _module(name: str) -> FormatModule:
    return cast(FormatModule, importlib.import_module(f"ckptconv.formats.{name}"))


_ZIP, _JSON = (b"PK",), (b"{",)
FORMATS = (
    Format("torchscript", "torch.script", "torch.jit.save", (".pt", ".jit"), _ZIP, parts=True),
    Format("torch-export", "torch.export", "torch.export.save", (".pt2",), _ZIP),
    Format(
        "torch-zip",
        "torch.zip",
        "torch.save since 1.6",
        (".pt", ".pth", ".bin"),
        _ZIP,
        writes=True,
        shares=True,
        parts=True,
    ),
    Format(
        "torch-legacy",
        "torch.legacy",
        "torch.save before 1.6",
        (".pt", ".pth", ".th"),
        (b"\x80", b"L1"),
        parts=True,
    ),
    Format("keras-zip", "keras.archive", "Keras 3 model", (".keras",), _ZIP),
    Format(
        "keras-sharded",
        "keras.sharded",
        "Keras 3 sharded weights",
        (".weights.json",),
        _JSON,
        beside=True,
    ),
    Format(
        "sharded-index",
        "sharded",
        "shards that an index names",
        (".index.json",),
        _JSON,
        parts=True,
        beside=True,
    ),
    Format(
        "hdf5",
        "keras.h5",
        "Keras weights, any version",
        (".h5", ".hdf5", ".weights.h5"),
        writes=True,
    ),
    Format("torch-tar", "torch.tar", "torch.save before 0.1.10, a tar file", (".tar",), parts=True),
    Format(
        "safetensors",
        "safetensors",
        "safetensors, names of any framework",
        (".safetensors",),
        writes=True,
    ),
    Format("mindspore-ckpt", "mindspore", "MindSpore checkpoint", (".ckpt",), writes=True),
    Format("bundle", "bundle", "one of these inside .tar, .tar.gz or .gz", parts=True),
)
SUFFIXES = tuple(dict.fromkeys(suffix for row in FORMATS for suffix in row.suffixes))
"""Names that may be checkpoints; what they are is told by their content."""


def stem(path: StrPath) -> str:
    """Return the name of a file without its folder and all suffixes of checkpoints.

    >>> stem("model.safetensors.index.json")
    'model'
    """
    name = os.path.basename(os.fsdecode(path))
    while fitting := [suffix for suffix in SUFFIXES if name.lower().endswith(suffix)]:
        name = name[: -max(map(len, fitting))]
    return name
