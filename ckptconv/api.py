"""Inspecting, loading, saving and converting, as users call them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ckptconv import dialects, formats
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.graph.graph import Graph
from ckptconv.kinds import parse_kinds
from ckptconv.options import Options
from ckptconv.passes import restore
from ckptconv.report import Report
from ckptconv.stages import Path, lift, lower, with_layout, write
from ckptconv.tensors.tensor import Array, ArrayTensor
from ckptconv.tensors.writer import Progress

Renames = Iterable[tuple[str, str]]


def inspect(path: Path, *, select: str | None = None) -> Checkpoint:
    """Open a checkpoint and return its names, shapes, dtypes and what it says of its modules.

    Args:
        select: which part, where a file holds several (``model_state_dict``).

    Raises:
        ContainerError: not a checkpoint, or damaged.
    """
    return formats.read(path, select=select)


def load(
    path: Path,
    *,
    dialect: str | None = None,
    kinds: Mapping[str, str] | None = None,
    rename: Renames = (),
    select: str | None = None,
    **more: Any,
) -> Graph:
    """Read a checkpoint into the canonical graph; values stay in the file until they are used.

    Args:
        dialect: ``torch``, ``keras`` or ``mindspore``; by default what the file speaks.
        kinds: module path → kind (``Embedding``, ``Linear``, …) where the file cannot tell.
        rename: (regular expression, replacement) pairs, applied in order to full names.
        select: which part, where a file holds several.
        more: other options that ``convert`` has for its source, by name: ``allow``, ``fuse``,
            ``split``, ``gates``, ``forget_bias``, ``z_convention``, ``device_layout``.

    Raises:
        ContainerError: not a checkpoint, or damaged.
        DialectError: names or shapes that the framework's conventions do not explain.
    """
    options = _options(kinds=kinds, rename=rename, **more)
    return lift(inspect(path, select=select), dialect, options)


def save(
    graph: Graph,
    path: Path,
    *,
    to: str,
    dtype: str | None = None,
    force: bool = False,
    like: Path | None = None,
    progress: Progress | None = None,
    check: bool = False,
) -> Report:
    """Write a graph as a checkpoint of framework ``to``.

    Args:
        path: its suffix chooses the container (``.ckpt``, ``.pt``, ``.safetensors``, …).
        to: ``torch``, ``keras``, ``mindspore`` or ``mint``.
        dtype: cast floating-point tensors (``float16``, ``bfloat16``, ``float32``, ``float64``).
        force: replace an existing file.
        like: a checkpoint or parameter list of the target network, whose names are taken.
        check: read the file back and compare every byte with what was meant, before it is named.

    Raises:
        CkptconvError: the target cannot hold the graph exactly, or cannot be written. Nothing is
            left behind then.
    """
    lowered = lower(graph, to, with_layout(Options(), to, path), like=like, dtype=dtype)
    return write(graph, lowered, path, to, force=force, progress=progress, check=check)


def convert(
    src: Path,
    dst: Path,
    *,
    to: str,
    source: str | None = None,
    rename: Renames = (),
    kinds: Mapping[str, str] | None = None,
    like: Path | None = None,
    dtype: str | None = None,
    allow: Iterable[str] = (),
    select: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    check: bool = False,
    fuse: Iterable[tuple[str, Sequence[str]]] = (),
    split: Iterable[str] = (),
    **more: Any,
) -> Report:
    """Convert a checkpoint; see ``load`` and ``save`` for the arguments.

    Args:
        like: as for ``save``; or the report of the conversion that made ``src``, from which biases
            that were summed there are split again, bit for bit.
        allow: names of approximations to accept.
        dry_run: do everything but write.
        fuse: (new path, paths): recurrent layers to make one layer of.
        split: paths of recurrent layers to make one layer each of.
        more: other fields of ``ckptconv.options.Options`` by name: ``fold_proj``, ``gates``,
            ``forget_bias``, ``z_convention``, ``device_layout``, ``device``.

    Returns:
        The account of every source and every target tensor.

    Raises:
        CkptconvError: the source cannot be read or the target cannot hold it exactly.
    """
    options = _options(kinds=kinds, rename=rename, allow=allow, fuse=fuse, split=split, **more)
    graph = lift(inspect(src, select=select), source, options)
    if like is not None and restore.is_report(like):
        restore.apply(graph, restore.read(like), report=os.fspath(like))
        like = None
    lowered = lower(graph, to, with_layout(options, to, dst), like=like, dtype=dtype)
    return write(
        graph, lowered, dst, to, force=force, dry_run=dry_run, progress=progress, check=check
    )


def from_state_dict(
    arrays: Mapping[str, Array],
    dialect: str,
    *,
    modules: Mapping[str, str] | None = None,
) -> Graph:
    """Return the graph of arrays in memory.

    Args:
        arrays: name → numpy array, in the dialect's names, shapes and gate order.
        modules: module path → class name, where known (``{"embed": "Embedding"}``).
    """
    tensors = {name: ArrayTensor(np.asarray(array)) for name, array in arrays.items()}
    known = {path: Module(name) for path, name in (modules or {}).items()}
    return lift(Checkpoint("memory", dict(tensors), known), dialect, Options())


def to_state_dict(graph: Graph, dialect: str) -> dict[str, Array]:
    """Return the graph's values as numpy arrays in a dialect's names, shapes and gate order."""
    lowered = lower(graph, dialect, Options())
    return {name: tensor.numpy() for name, tensor in lowered.tensors.items()}


def _options(
    *,
    kinds: Mapping[str, str] | None = None,
    rename: Renames = (),
    allow: Iterable[str] = (),
    fuse: Iterable[tuple[str, Sequence[str]]] = (),
    split: Iterable[str] = (),
    **more: Any,
) -> Options:
    return Options(
        kinds=parse_kinds(kinds, dialects.kind_of),
        rename=tuple(rename),
        allow=frozenset(allow),
        fuse=tuple((path, tuple(parts)) for path, parts in fuse),
        split=tuple(split),
        **more,
    )
