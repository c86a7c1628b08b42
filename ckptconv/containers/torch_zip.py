"""torch.save's zip files (caffe2/serialize/inline_container.cc, torch/serialization.py).

``<root>/data.pkl`` is a pickle whose persistent ids name the records ``<root>/data/<key>``; the
root folder may have any name, or none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ckptconv.checkpoint import Checkpoint
from ckptconv.containers.archive import Archive, is_zip
from ckptconv.containers.pickle_machine import MAX_PICKLE, PickleMachine
from ckptconv.containers.torch_checkpoint import build
from ckptconv.containers.torch_objects import CALLS, DTYPES, Storage, storage_dtype
from ckptconv.containers.torch_write import write
from ckptconv.errors import ContainerError
from ckptconv.source import Source

__all__ = ["read", "sniff", "write"]


def sniff(source: Source) -> bool:
    """Tell whether a zip file's directory names a ``data.pkl``."""
    if not is_zip(source):
        return False
    tail = source.read(source.size - (n := min(source.size, 1 << 16)), n)
    return b"data.pkl" in tail or b"data.pkl" in source.head(4096)


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read names, shapes and dtypes.

    Raises:
        ContainerError: damaged, no weights, or weights in several places.
    """
    archive = Archive(source)
    root = _root(archive)
    return build(_unpickle(archive, root, "data"), source, "torch-zip", select)


def _root(archive: Archive) -> str:
    roots = [name[: -len("data.pkl")] for name in archive.records if _is_main(name)]
    if len(roots) != 1:
        raise ContainerError(
            "not a torch file",
            file=archive.source.path,
            expected="one data.pkl",
            found=len(roots) or "none",
        )
    return roots[0]


def _is_main(name: str) -> bool:
    return name == "data.pkl" or (name.count("/") == 1 and name.endswith("/data.pkl"))


def _unpickle(archive: Archive, root: str, name: str) -> Any:
    order = root + "byteorder"
    big_endian = order in archive and archive.read(order, 16) == b"big"
    machine = PickleMachine(
        archive.read(f"{root}{name}.pkl", MAX_PICKLE),
        archive.source.path,
        calls=CALLS,
        persistent=partial(_storage, archive, f"{root}{name}/", big_endian),
    )
    return machine.run()


def _storage(archive: Archive, folder: str, big_endian: bool, identity: Any) -> Storage:
    """Return the storage that ('storage', class, key, location, numel) names."""
    kind, cls, key, _, numel = identity
    dtype = storage_dtype(cls)
    if kind != "storage" or type(key) is not str or type(numel) is not int:
        raise ValueError(f"a persistent id of {kind!r}")
    size = numel * DTYPES[dtype].itemsize
    return Storage(partial(_record, archive, folder + key, size), dtype, big_endian=big_endian)


def _record(archive: Archive, name: str, size: int) -> Source:
    member = archive.member(name)
    if member.size != size:
        raise ContainerError(
            "a storage of the wrong size",
            file=member.path,
            tensor=name,
            expected=f"{size} bytes",
            found=member.size,
        )
    return member
