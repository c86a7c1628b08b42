"""Loading, saving and converting: the only place where containers meet dialects."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ckptconv import containers, dialects, restore, stacking
from ckptconv import like as like_names
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.dialects.columns import Lowered
from ckptconv.errors import CkptconvError, ContainerError, DialectError
from ckptconv.graph import Graph
from ckptconv.kinds import parse_kinds
from ckptconv.options import Options
from ckptconv.relayout import cast
from ckptconv.renames import rename as rename_layers
from ckptconv.report import Report, account, add_cast_notes
from ckptconv.sink import Progress
from ckptconv.tensor import BFLOAT16, Array, ArrayTensor, DType

Path = str | os.PathLike[str]
Renames = Iterable[tuple[str, str]]

_DTYPES: dict[str, DType] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    "bfloat16": BFLOAT16,
}


def inspect(path: Path, *, select: str | None = None) -> Checkpoint:
    """Open a checkpoint and return its names, shapes, dtypes and what it says of its modules.

    Args:
        select: which part, where a file holds several (``model_state_dict``).

    Raises:
        ContainerError: not a checkpoint, or damaged.
    """
    return containers.read(path, select=select)


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
    lowered = lower(graph, to, _with_layout(Options(), to, path), like=like, dtype=dtype)
    return _write(graph, lowered, path, to, force=force, progress=progress, check=check)


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
    lowered = lower(graph, to, _with_layout(options, to, dst), like=like, dtype=dtype)
    return _write(
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


def lift(checkpoint: Checkpoint, dialect: str | None, options: Options) -> Graph:
    """Bring an opened checkpoint into the canonical graph."""
    row = dialects.dialect(dialect or dialects.detect(checkpoint))
    with _located(checkpoint.path):
        graph: Graph = row.load().lift(checkpoint, options)
        if not graph.layers:
            raise ContainerError("holds no parameters", file=checkpoint.path)
        graph.sources, graph.path = checkpoint.sources, checkpoint.path
        graph.container = checkpoint.container
        for path in options.split:
            stacking.split(graph, path)
        for path, parts in options.fuse:
            stacking.fuse(graph, path, parts)
        rename_layers(graph.layers, options.rename)
    return graph


def lower(
    graph: Graph,
    to: str,
    options: Options,
    *,
    like: Path | like_names.Shapes | None = None,
    dtype: str | None = None,
) -> Lowered:
    """Bring a graph into the names, axes and gate order of framework ``to``.

    Args:
        like: the target network's parameters: a file, or name → shape.
    """
    target = like_names.read_target(like) if isinstance(like, (str, os.PathLike)) else like
    with _located(graph.path):
        if target is not None:
            like_names.settle_kinds(graph, target, to)
        lowered: Lowered = dialects.dialect(to).load().lower(graph, options)
        if target is not None:
            lowered = like_names.match(lowered, target)
        _check_dtypes(lowered)
        if dtype is not None:
            _cast(lowered, dtype)
    return lowered


def _write(
    graph: Graph,
    lowered: Lowered,
    path: Path,
    to: str,
    *,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    check: bool = False,
) -> Report:
    container, metadata = _container(dialects.dialect(to), path)
    target = {"path": os.fspath(path), "container": container, "framework": to}
    report = account(graph, lowered, target)
    report.restore = [asdict(split) for split in restore.record(graph, lowered)]
    checkpoint = Checkpoint(
        container,
        lowered.tensors,
        modules=dict(graph.modules),
        metadata={**metadata, **lowered.metadata},
    )
    if not dry_run:
        containers.write(
            checkpoint, path, sources=graph.sources, force=force, progress=progress, check=check
        )
        report.written = True
    add_cast_notes(report, lowered)
    return report


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
        kinds=parse_kinds(kinds),
        rename=tuple(rename),
        allow=frozenset(allow),
        fuse=tuple((path, tuple(parts)) for path, parts in fuse),
        split=tuple(split),
        **more,
    )


@contextmanager
def _located(file: str) -> Iterator[None]:
    """Name the file in errors of rooms that know only tensors."""
    try:
        yield
    except CkptconvError as error:
        error.file = error.file or file or None
        raise


def _with_layout(options: Options, to: str, path: Path) -> Options:
    """Add the naming that the target's suffix asks for."""
    _, metadata = _container(dialects.dialect(to), path)
    return replace(options, layout=str(metadata.get("layout", "")))


def _container(row: dialects.Dialect, path: Path) -> tuple[str, dict[str, Any]]:
    """Choose the container by the target's suffix."""
    name = os.path.basename(os.fspath(path)).lower()
    for suffix in sorted(row.containers, key=len, reverse=True):
        if name.endswith(suffix):
            container, metadata = row.containers[suffix]
            return container, dict(metadata)
    raise ContainerError(
        f"not a file name for {row.name}",
        file=path,
        expected="a name that ends in " + " or ".join(row.containers),
    )


def _check_dtypes(lowered: Lowered) -> None:
    for name, tensor in lowered.tensors.items():
        if tensor.dtype.kind == "c":
            raise DialectError(
                "complex numbers cannot be converted",
                tensor=name,
                expected="a real dtype",
                found=tensor.dtype.name,
            )


def _cast(lowered: Lowered, dtype: str) -> None:
    if dtype not in _DTYPES:
        raise CkptconvError(f"unknown dtype {dtype!r}", expected=" or ".join(_DTYPES))
    for name, tensor in lowered.tensors.items():
        if tensor.dtype.kind == "f" or tensor.dtype == BFLOAT16:
            lowered.tensors[name] = cast(tensor, _DTYPES[dtype])
