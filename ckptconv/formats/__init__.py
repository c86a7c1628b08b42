"""The file formats: recognised by content, read lazily, written whole or not at all.

Each module of this package holds one format:

- ``sniff(source) -> bool`` is cheap and never raises for bytes of another format;
- ``read(source, *, select=None) -> Checkpoint`` reads names, shapes and dtypes, no values;
  ``select`` names the part that is wanted where a file holds several;
- ``write(checkpoint, path, progress=None)``, where the format can be written, fills an existing
  empty file.

No module here knows a layer, a gate or a framework's class: a name in a file is only a name.
Adding a format is one module and one row of ``FORMATS``.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import CkptconvError, ContainerError
from ckptconv.io.atomic import atomic_path, check_target
from ckptconv.io.reader import Source
from ckptconv.tensors.writer import Progress

_MAX_SMALL, _MAX_RATIO = 1 << 30, 64


@dataclass(frozen=True)
class Format:
    """A row of the registry.

    Attributes:
        name: as ``inspect`` and the report call it.
        module: below this package; imported only for files that begin with one of ``starts``.
        about: one line for ``ckptconv formats``.
        starts: the possible first bytes; ``b""`` where only the sniffer can tell.
        writes: whether the module has ``write``.
    """

    name: str
    module: str
    about: str
    starts: tuple[bytes, ...] = (b"",)
    writes: bool = False

    def load(self) -> Any:
        return importlib.import_module(f"{__name__}.{self.module}")


FORMATS = (
    Format("torchscript", "torch.script", "torch.jit.save (.pt .jit)", (b"PK",)),
    Format("torch-export", "torch.export", "torch.export.save (.pt2)", (b"PK",)),
    Format("torch-zip", "torch.zip", "torch.save since 1.6 (.pt .pth .bin)", (b"PK",), True),
    Format(
        "torch-legacy", "torch.legacy", "torch.save before 1.6 (.pt .pth .th)", (b"\x80", b"L1")
    ),
    Format("keras-zip", "keras.archive", "Keras 3 model (.keras)", (b"PK",)),
    Format("keras-sharded", "keras.sharded", "Keras 3 sharded weights (.weights.json)", (b"{",)),
    Format("sharded-index", "sharded", "shards that an .index.json names", (b"{",)),
    Format("hdf5", "keras.h5", "Keras weights (.h5, .hdf5, .weights.h5), any version", writes=True),
    Format("torch-tar", "torch.tar", "torch.save before 0.1.10, a tar file"),
    Format("safetensors", "safetensors", "safetensors, names of any framework", writes=True),
    Format("mindspore-ckpt", "mindspore", "MindSpore checkpoint (.ckpt)", writes=True),
    Format("bundle", "bundle", "one of these inside .tar, .tar.gz or .gz"),
)


def read(path: str | os.PathLike[str], *, select: str | None = None) -> Checkpoint:
    """Open a file, or ``bundle.tar.gz:member``, and read everything but the values.

    Raises:
        ContainerError: not a file, not a known format, or damaged.
    """
    outer, member = _open(os.fspath(path))
    source = (
        importlib.import_module(f"{__name__}.bundle").member(outer, member) if member else outer
    )
    try:
        checkpoint: Checkpoint = recognise(source).load().read(source, select=select)
    except CkptconvError as error:
        error.file = error.file or path
        raise
    checkpoint.path = os.fspath(path)
    checkpoint.sources = checkpoint.sources or [outer]
    return checkpoint


def _open(path: str) -> tuple[Source, str]:
    """Return the file and the name of the member that is wanted, if any."""
    file, colon, member = path.partition(":")
    while colon and not os.path.exists(path) and not os.path.isfile(file):
        more, colon, member = member.partition(":")
        file = f"{file}:{more}"
    inside = colon and not os.path.exists(path)
    return (Source(file), member) if inside else (Source(path), "")


def recognise(source: Source) -> Format:
    """Return the format of a file by its content.

    Raises:
        ContainerError: no known format.
    """
    head = source.head(64)
    for row in FORMATS:
        if head.startswith(row.starts) and row.load().sniff(source):
            return row
    raise ContainerError(
        "not a checkpoint",
        file=source.path,
        expected="a format that 'ckptconv formats' lists",
        found=f"{source.size} bytes that begin with {head[:16]!r}" if head else "an empty file",
    )


def write(
    checkpoint: Checkpoint,
    path: str | os.PathLike[str],
    *,
    sources: list[Source],
    force: bool = False,
    progress: Progress | None = None,
    check: bool = False,
) -> None:
    """Write ``checkpoint`` in the format it names, atomically.

    Args:
        sources: what the values are read from; never overwritten, and checked at the end to be
            unchanged since they were opened.
        check: read the file back and compare everything before it takes its name.

    Raises:
        ContainerError: the target exists, cannot be written, or is not what was meant; or a source
            changed meanwhile.
    """
    row = next(row for row in FORMATS if row.name == checkpoint.container)
    check_target(path, sources, force=force)
    _check_tensors(checkpoint, path, sources)
    with atomic_path(path, force=force) as temporary:
        _write(row, checkpoint, path, temporary, progress, check=check)
        for source in sources:
            source.check_unchanged()


def _check_tensors(
    checkpoint: Checkpoint, path: str | os.PathLike[str], sources: list[Source]
) -> None:
    """Refuse names that are no text, and a bomb: a little file that unfolds to fill a disk."""
    for name in checkpoint.tensors:
        if not name.isascii() and name.encode("utf-8", "ignore").decode() != name:
            raise ContainerError("a name that is no Unicode text", file=path, tensor=name)
    total = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    limit = max(_MAX_SMALL, _MAX_RATIO * sum(source.size for source in sources))
    if sources and total > limit:
        raise ContainerError(
            "the source unfolds to far more than it holds",
            file=path,
            expected=f"at most {limit} bytes",
            found=total,
        )


def _write(
    row: Format,
    checkpoint: Checkpoint,
    path: str | os.PathLike[str],
    temporary: str,
    progress: Progress | None,
    *,
    check: bool,
) -> None:
    try:
        row.load().write(checkpoint, temporary, progress)
        if check:
            importlib.import_module(f"{__name__}.readback").check(checkpoint, temporary)
    except CkptconvError as error:
        error.file = error.file or path
        raise
