"""The file formats: recognised by content, read lazily, written whole or not at all.

Each module below this package holds one format and has the functions of ``FormatModule``; one that
can be written has ``write`` too. No module here knows a layer, a gate or a framework's class: a
name in a file is only a name. Adding a format is one module and one row of
``registry.FORMATS``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

from ckptconv.errors import ContainerError, StrPath, UsageError, listed, locating
from ckptconv.formats.registry import FORMATS, SUFFIXES, Format, WritableModule, stem
from ckptconv.io.atomic import atomic_path, check_target
from ckptconv.io.reader import File, Source
from ckptconv.spelling import option
from ckptconv.tensors.memory import reused

if TYPE_CHECKING:
    from ckptconv.checkpoint import Checkpoint
    from ckptconv.tensors.tensor import Tensor
    from ckptconv.tensors.writer import Progress

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "Format",
    "Output",
    "output",
    "read",
    "recognise",
    "split_member",
    "stem",
    "write",
]

_SHARD = re.compile(r"\d[-_]of[-_]\d|_\d{5}\.weights\.h5$")
_MAX_SMALL, _MAX_RATIO, _MAX_LISTED = 1 << 30, 64, 12
_OTHERS = (
    # how it begins, what it is, what to do
    (b"version https://git-lfs", "a pointer of Git LFS", "git lfs pull"),
    (b"<", "a page, as a download gives for a file that it refuses", "downloading it again"),
    (b"GGUF", "a GGUF file", "the files that it was made of"),
    (b"\x93NUMPY", "an array without a name", "a safetensors file of named arrays"),
    (
        b"\x80",
        "a plain pickle",
        "torch.save(pickle.load(…), 'model.pt'), if you trust it: it runs code",
    ),
)
"""Files that often stand in the place of checkpoints."""


class Output(NamedTuple):
    """Where a conversion goes: the format, and its variant where it has several.

    ``variant`` is a ``Layout`` of HDF5, or the framework that safetensors names itself after.
    """

    format: Format
    variant: str = ""


def output(path: StrPath, suffixes: Mapping[str, tuple[str, str]]) -> Output:
    """Choose format and variant by the name of the target.

    Args:
        suffixes: suffix → (format, variant); the longest that fits decides.

    Raises:
        UsageError: none fits.
    """
    name = os.path.basename(os.fsdecode(path)).lower()
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.endswith(suffix):
            return Output(named(suffixes[suffix][0]), suffixes[suffix][1])
    expected = "a name that ends in " + " or ".join(suffixes)
    folder = os.path.isdir(path)
    raise UsageError(
        "is a folder" if folder else "not a file name for this framework",
        file=path,
        expected=expected,
        hint=os.path.join(path, f"model{next(iter(suffixes))}") if folder else None,
    )


def split_member(path: StrPath) -> tuple[str, str]:
    """Return (file, member) of ``bundle.tar.gz:member``; no member for the path of a file."""
    whole = os.fsdecode(path)
    file, colon, member = whole.partition(":")
    while colon and not os.path.exists(whole) and not os.path.isfile(file):
        more, colon, member = member.partition(":")
        file = f"{file}:{more}"
    inside = colon and not os.path.exists(whole)
    return (file, member) if inside else (whole, "")


def read(path: StrPath, *, select: str | None = None) -> Checkpoint:
    """Open a file, or ``bundle.tar.gz:member``, and read everything but the values.

    Args:
        select: the part that is wanted, or ``PART=PREFIX,…`` for several under names of their own.

    Raises:
        ContainerError: not a file, not a known format, or damaged.
    """
    if select is not None and "=" in select:
        from ckptconv.formats import several

        return several.read(path, select)
    file, member = split_member(path)
    if os.path.isdir(file):
        from ckptconv.formats import folders

        raise folders.refusal(file)
    source = File(file)
    with locating(path):
        if member:
            from ckptconv.formats import bundle

            checkpoint = bundle.read_member(source, member, select)
        else:
            checkpoint = _alone(source, select)
    return replace(checkpoint, path=os.fsdecode(path), files=checkpoint.files or (source,))


def _alone(source: Source, select: str | None) -> Checkpoint:
    """Read a file that no other one names, as it is for all that is known."""
    notes: tuple[str, ...] = ()
    if _SHARD.search(source.path):
        from ckptconv.formats import shards

        notes = shards.notes_on(source.path)
    checkpoint = opened(recognise(source), source, select)
    return replace(checkpoint, notes=(*checkpoint.notes, *notes))


def opened(row: Format, source: Source, select: str | None) -> Checkpoint:
    """Read a file that has this format.

    Raises:
        ContainerError: damaged, or ``select`` names a part where there are none.
    """
    if select not in (None, "*") and not row.parts:
        found = option("select", select)
        raise ContainerError(f"{row.name} has no parts to select", file=source.path, found=found)
    return row.load().read(source, select=select)


def recognise(source: Source) -> Format:
    """Return the format of a file by its content.

    Raises:
        ContainerError: no known format.
    """
    head = source.head(64)
    for row in FORMATS:
        if head.startswith(row.starts) and row.load().sniff(source):
            return row
    seen = f"{source.size} bytes that begin with {head[:16]!r}" if head else "an empty file"
    known = ((what, to_do) for begins, what, to_do in _OTHERS if head.lstrip().startswith(begins))
    found, hint = next(known, (seen, None))
    expected = "a format that 'ckptconv formats' lists"
    hint = hint or _inside(source)
    raise ContainerError(
        "not a checkpoint", file=source.path, expected=expected, found=found, hint=hint
    )


def _inside(source: Source) -> str | None:
    """Say which members of a zip file may be checkpoints, as of Stable-Baselines, or arrays."""
    from ckptconv.codecs.zip.reader import Archive, is_zip  # no start waits for it

    if not is_zip(source):
        return None
    try:
        held = [*Archive(source).records]
    except ContainerError:
        return None
    if held and all(name.endswith(".npy") for name in held):
        return "a safetensors file of its arrays"
    names = [name for name in held if name.lower().endswith(SUFFIXES)]
    return f"extracting {listed(names, _MAX_LISTED)}" if names else None


def write(
    checkpoint: Checkpoint,
    path: StrPath,
    *,
    force: bool = False,
    progress: Progress | None = None,
    check: bool = False,
) -> None:
    """Write ``checkpoint`` in the format it names, atomically.

    ``checkpoint.files``, from which the values are read, are never overwritten, and in the end
    checked to be unchanged since they were opened.

    Args:
        check: read the file back and compare everything before it takes its name.

    Raises:
        ContainerError: the target exists, cannot be written, or is not what was meant; or a source
            cannot be read or changed meanwhile.
    """
    row = named(checkpoint.format)
    check_target(path, checkpoint.files, force=force)
    with locating(path):
        _check_tensors(checkpoint.tensors, checkpoint.files)
        with atomic_path(path, force=force) as temporary, reused():
            cast(WritableModule, row.load()).write(checkpoint, temporary, progress)
            if check:
                from ckptconv.formats import readback

                readback.check(checkpoint, temporary)
            for source in checkpoint.files:
                source.check_unchanged()


def named(name: str) -> Format:
    """Return the format of this name."""
    return next(row for row in FORMATS if row.name == name)


def _check_tensors(tensors: Mapping[str, Tensor], files: Sequence[Source]) -> None:
    """Refuse names that are no text, and a bomb: a little file that unfolds to fill a disk."""
    for name in tensors:
        if not name.isascii() and name.encode("utf-8", "ignore").decode() != name:
            raise ContainerError("a name that is no Unicode text", tensor=name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    limit = max(_MAX_SMALL, _MAX_RATIO * sum(source.size for source in files))
    if files and total > limit:
        raise ContainerError(
            "the source unfolds to far more than it holds",
            expected=f"at most {limit} bytes",
            found=total,
        )
