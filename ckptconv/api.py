"""Inspecting, loading, saving and converting, with every option spelled out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ckptconv import formats, pipeline
from ckptconv.checkpoint import Checkpoint
from ckptconv.graph.graph import Graph
from ckptconv.options import (
    DTypeName,
    FlatLayout,
    Framework,
    Fuses,
    Hardware,
    Like,
    Pairs,
    Progress,
    ReadOptions,
    StrPath,
    Target,
    WriteOptions,
)
from ckptconv.passes.check_kinds import given
from ckptconv.report import Report
from ckptconv.spelling import public

Options = TypeVar("Options", ReadOptions, WriteOptions)


@public()
def inspect(path: StrPath, *, select: str | None = None) -> Checkpoint:
    """Open a checkpoint and return its names, shapes, dtypes and what it says of its modules.

    Args:
        path: a file, or ``bundle.tar.gz:member``.
        select: which part, where a file holds several (``model_state_dict``).

    Returns:
        The checkpoint; its values stay in the file until they are used.

    Raises:
        ContainerError: not a checkpoint, or damaged.

    Examples:
        >>> {name: t.shape for name, t in inspect("model.pt").tensors.items()}  # doctest: +SKIP
    """
    return formats.read(path, select=select)


@public()
def load(
    path: StrPath,
    *,
    source: Framework | None = None,
    select: str | None = None,
    kinds: Pairs = (),
    rename: Pairs = (),
    map: StrPath | Mapping[str, str] | None = None,
    fuse: Fuses = (),
    split: Iterable[str] = (),
    gates: str | None = None,
    forget_bias: float = 0.0,
    z_convention: bool = False,
    flat_layout: FlatLayout | None = None,
    allow: Iterable[str] = (),
    restore: StrPath | None = None,
    config: StrPath | None = None,
) -> Graph:
    """Read a checkpoint into the canonical graph; values stay in the file until they are used.

    Args:
        path: a file, or ``bundle.tar.gz:member``.
        source: the framework whose names the file has; by default what it speaks.
        select: which part, where a file holds several.
        kinds: module path → kind (``Embedding``, ``LSTM(hidden_size=64)``) where the file cannot
            tell.
        rename: (regular expression, replacement) pairs, applied in order to module paths.
        map: old path → new path of modules, or a TOML or JSON file of such entries.
        fuse: new path → paths: recurrent layers to make one layer of.
        split: paths of recurrent layers to make one layer each of.
        gates: the source's gate order where it is not its framework's: ``iofc``, ``onnx``.
        forget_bias: what the source adds to the forget gate at run time.
        z_convention: the source's GRU computes h' = (1 - z) ⊙ h + z ⊙ n.
        flat_layout: how a MindSpore before 1.6 laid out an LSTM's flat weight.
        allow: names of approximations to accept.
        restore: the report of the conversion that made the file; what it records is undone, such
            as biases that were summed.
        config: a Keras model's configuration as JSON, for a file of weights alone.

    Returns:
        The graph: layers in model order, LSTM gates as i, f, g, o, GRU gates as r, z, n.

    Raises:
        ContainerError: not a checkpoint, or damaged.
        DialectError: names or shapes that the framework's conventions do not explain.
        CkptconvError: an option that nothing in the file fits.
        TypeError: an option that reading does not take.

    Examples:
        >>> graph = load("model.h5", kinds={"head": "Linear"})  # doctest: +SKIP
    """
    options = _chosen(ReadOptions, locals())
    graph = pipeline.read(path, options)
    options.allow.check()
    return graph


@public()
def save(
    graph: Graph,
    path: StrPath,
    *,
    to: Target,
    like: Like | None = None,
    like_order: bool = False,
    fill: Pairs = (),
    drop: Iterable[str] = (),
    fold_bias: Pairs = (),
    dtype: DTypeName | None = None,
    fold_proj: bool = False,
    hardware: Hardware | None = None,
    check: bool = False,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write a graph as a checkpoint of framework ``to``; the graph itself is not changed.

    Args:
        graph: from ``load``, ``from_state_dict`` or ``from_torch``.
        path: its suffix chooses the format (``.ckpt``, ``.pt``, ``.safetensors``, …).
        to: ``torch``, ``keras``, ``mindspore`` or ``mint``.
        like: a checkpoint or parameter list of the target network, or name → shape; its names are
            taken, all of them or none.
        like_order: accept what is paired by order, where shapes and names do not decide.
        fill: module or parameter that only the target has → ``zeros``, ``ones``, or ``target`` for
            its own values.
        drop: modules and parameters of the source to leave out, by the names that ``rename``,
            ``split``, ``fuse`` and ``map`` gave them, if they did.
        fold_bias: convolution → the BatchNorm that follows it, into which its bias goes.
        dtype: cast floating-point tensors.
        fold_proj: turn an LSTM's ``proj_size`` into an exactly equal LSTM and a Dense.
        hardware: ``ascend`` makes what that hardware cannot do an error.
        check: read the file back and compare every byte with what was meant, before it is named.
        dry_run: do everything but write.
        force: replace an existing file.
        progress: called with the number of bytes just written.

    Returns:
        The account of every source and every target tensor.

    Raises:
        CkptconvError: the target cannot hold the graph exactly, or cannot be written. Nothing is
            left behind then.

    Examples:
        >>> save(load("model.h5"), "model.ckpt", to="mindspore")  # doctest: +SKIP
    """
    options = _chosen(WriteOptions, locals())
    return pipeline.write(given(graph), path, to, options)


@public()
def convert(
    src: StrPath,
    dst: StrPath,
    *,
    to: Target,
    source: Framework | None = None,
    select: str | None = None,
    kinds: Pairs = (),
    rename: Pairs = (),
    map: StrPath | Mapping[str, str] | None = None,
    fuse: Fuses = (),
    split: Iterable[str] = (),
    gates: str | None = None,
    forget_bias: float = 0.0,
    z_convention: bool = False,
    flat_layout: FlatLayout | None = None,
    allow: Iterable[str] = (),
    restore: StrPath | None = None,
    config: StrPath | None = None,
    like: Like | None = None,
    like_order: bool = False,
    fill: Pairs = (),
    drop: Iterable[str] = (),
    fold_bias: Pairs = (),
    dtype: DTypeName | None = None,
    fold_proj: bool = False,
    hardware: Hardware | None = None,
    check: bool = False,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    network: StrPath | None = None,
    stubs: Iterable[str] = (),
) -> Report:
    """Convert a checkpoint: ``load`` it, ``save`` it.

    Args:
        src: see ``load``, as for ``source`` to ``config``.
        dst: see ``save``, as for ``to`` and for ``like`` to ``progress``.
        network: a Python file to write the network to, for torch or MindSpore, where the source
            records it: a Keras model with its configuration, a torch.export archive.
        stubs: names of layers that the network leaves as functions to be written by hand.

    Returns:
        The account of every source and every target tensor.

    Raises:
        CkptconvError: the source cannot be read or the target cannot hold it exactly.
        TypeError: an option that a conversion does not take.

    Examples:
        >>> convert("model.pt", "model.ckpt", to="mindspore", check=True)  # doctest: +SKIP
    """
    reading, writing = _chosen(ReadOptions, locals()), _chosen(WriteOptions, locals())
    if network is not None:
        from ckptconv import networks

        return networks.convert(src, dst, to, reading, writing)
    graph = pipeline.read(src, reading)
    reading.allow.check()
    return pipeline.write(graph, dst, to, writing)


def _chosen(options: type[Options], arguments: Mapping[str, Any]) -> Options:
    """Return the arguments of a call that are options of this kind."""
    names = (field.name for field in fields(options))
    return options(**{name: arguments[name] for name in names if name in arguments})
