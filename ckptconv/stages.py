"""The stages of a conversion: lift a checkpoint to the graph, lower it to a target, write that.

The only place where containers meet dialects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ckptconv import dialects, formats
from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.state_dict import Lowered
from ckptconv.errors import CkptconvError, ContainerError, DialectError
from ckptconv.graph.graph import Graph
from ckptconv.options import Options
from ckptconv.passes import match_target as like_names
from ckptconv.passes import restore
from ckptconv.passes import stack as stacking
from ckptconv.passes.rename import rename as rename_layers
from ckptconv.report import Report, account, add_cast_notes
from ckptconv.tensors.ops import cast
from ckptconv.tensors.tensor import BFLOAT16, DType
from ckptconv.tensors.writer import Progress

Path = str | os.PathLike[str]

_DTYPES: dict[str, DType] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    "bfloat16": BFLOAT16,
}


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
            like_names.settle_kinds(graph, target, dialects.dialect(to).forms)
        lowered: Lowered = dialects.dialect(to).load().lower(graph, options)
        if target is not None:
            lowered = like_names.match(lowered, target)
        _check_dtypes(lowered)
        if dtype is not None:
            _cast(lowered, dtype)
    return lowered


def write(
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
    """Account for every tensor, then write what was lowered; see ``api.convert``.

    Raises:
        CkptconvError: a tensor is not accounted for, or the target cannot be written.
    """
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
        formats.write(
            checkpoint, path, sources=graph.sources, force=force, progress=progress, check=check
        )
        report.written = True
    add_cast_notes(report, lowered)
    return report


@contextmanager
def _located(file: str) -> Iterator[None]:
    """Name the file in errors of rooms that know only tensors."""
    try:
        yield
    except CkptconvError as error:
        error.file = error.file or file or None
        raise


def with_layout(options: Options, to: str, path: Path) -> Options:
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
