"""The records of torch's zip files: pickles, and the storages that they name."""

from __future__ import annotations

from functools import partial
from typing import Any

from ckptconv.codecs.pickle.machine import MAX_PICKLE, PickleMachine
from ckptconv.codecs.pickle.objects import told
from ckptconv.codecs.zip.reader import Archive
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.dtypes import DTYPES, storage_dtype
from ckptconv.formats.torch.tensors import CALLS, Storage
from ckptconv.io.reader import Source


def find_root(archive: Archive, member: str) -> str:
    """Return the folder, with its slash, that holds ``member``; it may have any name, or none.

    Raises:
        ContainerError: none such, or several.
    """
    ends = [name for name in archive.records if f"/{name}".endswith(f"/{member}")]
    roots = [root for name in ends if (root := name[: -len(member)]).count("/") <= 1]
    if len(roots) != 1:
        raise ContainerError(
            "not a torch file",
            file=archive.source.path,
            expected=f"one {member}",
            found=len(roots) or "none",
        )
    return roots[0]


def is_big_endian(archive: Archive, root: str) -> bool:
    order = root + "byteorder"
    return order in archive and archive.read(order, 16) == b"big"


def format_version(archive: Archive, root: str) -> str:
    """Return the version that the file says its format has, or nothing."""
    name = f"{root}version"
    text = archive.read(name, 64).strip() if name in archive else b""
    return text.decode("ascii", "replace")


def unpickle_record(archive: Archive, root: str, name: str = "data") -> Any:
    """Return the object in ``<root><name>.pkl``, whose storages are ``<root><name>/<key>``.

    Raises:
        ContainerError: damaged, or larger than a pickle may be.
    """
    machine = PickleMachine(
        archive.read(f"{root}{name}.pkl", MAX_PICKLE),
        archive.source.path,
        calls=CALLS,
        persistent=partial(_storage, archive, f"{root}{name}/", is_big_endian(archive, root)),
    )
    return machine.run()


def _storage(archive: Archive, folder: str, big_endian: bool, identity: Any) -> Storage:
    """Return the storage that ('storage', class, key, location, numel) names."""
    kind, cls, key, _, numel = identity
    dtype = storage_dtype(cls)
    if kind != "storage" or type(key) is not str or type(numel) is not int:
        raise ValueError(f"a persistent id of {told(kind)}")
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
