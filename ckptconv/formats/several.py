"""Several parts of one file, each under a name: ``--select model.0=img_enc,model.1=txt_enc``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.errors import ContainerError, StrPath
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

_BESIDE = "beside the selected weights"


def read(path: StrPath, select: str) -> Checkpoint:
    """Return the parts of a file, each under its prefix; an empty one adds nothing to its names.

    Args:
        select: ``PART=PREFIX``, several by commas.

    Raises:
        ContainerError: a part that is not there, or two tensors of one name.
    """
    prefixes: dict[str, str] = {}
    for entry in select.split(","):
        part, equals, prefix = entry.strip().partition("=")
        if not equals or not part or part in prefixes:
            raise ContainerError(option("select", select), file=path, expected="PART=PREFIX, …")
        prefixes[part] = f"{prefix}." if prefix else ""
    found = {prefix: formats.read(path, select=part) for part, prefix in prefixes.items()}
    if len(found) < len(prefixes):
        raise ContainerError(f"{option('select', select)}: two parts of one prefix", file=path)
    tensors: dict[str, Tensor] = {}
    modules: dict[str, Module] = {}
    for prefix, checkpoint in found.items():
        named = {prefix + name: tensor for name, tensor in checkpoint.tensors.items()}
        if both := tensors.keys() & named.keys():
            raise ContainerError("two parts have this name", file=path, tensor=min(both))
        tensors |= named
        modules |= {(prefix + at).strip("."): told for at, told in checkpoint.modules.items()}
    parts = list(found.values())
    return replace(
        parts[0],
        tensors=tensors,
        modules=modules,
        omitted=_omitted(found),
        notes=tuple(note for note in parts[0].notes if all(note in p.notes for p in parts)),
        files=tuple(file for part in parts for file in part.files),
    )


def _omitted(parts: Mapping[str, Checkpoint]) -> dict[str, str]:
    """Return what no part took: what stands beside all of them, and what each left out itself."""
    beside: Sequence[set[str]] = [
        {name for name, rule in part.omitted.items() if rule.startswith(_BESIDE)}
        for part in parts.values()
    ]
    everywhere = set.intersection(*beside)
    return {
        name if name in everywhere else prefix + name: rule
        for prefix, part in parts.items()
        for name, rule in part.omitted.items()
        if name in everywhere or not rule.startswith(_BESIDE)
    }
