"""Reading a written file back, to know that it holds what was meant."""

from __future__ import annotations

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import CkptconvError, ContainerError
from ckptconv.formats.registry import Format
from ckptconv.io.reader import File, Source
from ckptconv.tensors.computed import Cast, cast
from ckptconv.tensors.tensor import Tensor, same_bytes


def check(meant: Checkpoint, path: str) -> None:
    """Compare a file with what it was written from: names, shapes, dtypes and every byte.

    The values are computed from the source a second time, so that a fault of memory or of the
    disk shows as well as one of the writer.

    Raises:
        ContainerError: the file cannot be read, or anything differs.
    """
    file = File(path)
    try:
        _compare(meant, _read(file, formats.named(meant.format)))
    finally:
        file.close()  # a system may move no file that is open


def _read(file: Source, row: Format) -> Checkpoint:
    try:
        if row.load().sniff(file):
            return formats.opened(row, file, None)
    except CkptconvError as error:
        raise ContainerError(f"what was written cannot be read back: {error.problem}") from error
    raise ContainerError("what was written is not what was meant: other format", expected=row.name)


def _compare(meant: Checkpoint, written: Checkpoint) -> None:
    stray = meant.tensors.keys() ^ written.tensors.keys()
    if stray:
        side = "missing" if min(stray) in meant.tensors else "not meant"
        _require(min(stray), "names", f"{len(meant.tensors)} tensors", side)
    for name, tensor in meant.tensors.items():
        found = written.tensors[name]
        _require(name, "shape", tensor.shape, found.shape)
        _require(name, "dtype", tensor.dtype, found.dtype)
        _require(name, "values", "the same bytes", _same(tensor, found) or "others")


def _same(meant: Tensor, written: Tensor) -> str | None:
    if isinstance(meant, Cast):  # a fresh one, since they count what they lose
        meant = cast(meant.inputs[0], meant.dtype)
    return "the same bytes" if same_bytes(meant, written) else None


def _require(name: str | None, what: str, expected: object, found: object) -> None:
    if expected != found:
        raise ContainerError(
            f"what was written is not what was meant: other {what}",
            tensor=name,
            expected=expected,
            found=found,
        )
