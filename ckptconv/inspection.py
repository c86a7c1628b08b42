"""``ckptconv inspect``: what a file holds, as JSON-like values."""

from __future__ import annotations

import os
from typing import Any

from ckptconv import api
from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects import detect
from ckptconv.errors import DialectError
from ckptconv.graph import Graph, Layer
from ckptconv.options import Options
from ckptconv.tensor import Tensor, trace

SCHEMA = "ckptconv-inspect-1"


def describe(path: str | os.PathLike[str], *, select: str | None = None) -> dict[str, Any]:
    """Return container, framework, modules with kinds and evidence, tensors, ties and omissions.

    A file whose names make no sense to its framework is described all the same: its parameters
    are listed without kinds, and a note says what is wrong.

    Raises:
        ContainerError: not a checkpoint, or damaged.
    """
    checkpoint = api.inspect(path, select=select)
    notes = list(checkpoint.notes)
    try:
        graph = api.lift(checkpoint, None, Options())
        modules, omitted = _modules(checkpoint, graph), graph.omitted
        notes = graph.notes
    except DialectError as error:
        modules, omitted = [_flat(checkpoint)], checkpoint.omitted
        notes.append(str(error))
    return {
        "schema": SCHEMA,
        "path": checkpoint.path,
        "container": checkpoint.container,
        "framework": detect(checkpoint),
        "metadata": {k: v for k, v in checkpoint.metadata.items() if isinstance(v, (str, bool))},
        "bytes": sum(tensor.nbytes for tensor in checkpoint.tensors.values()),
        "modules": modules,
        "omitted": omitted,
        "notes": notes,
    }


def _modules(checkpoint: Checkpoint, graph: Graph) -> list[dict[str, Any]]:
    names = {id(tensor): name for name, tensor in checkpoint.tensors.items()}
    ties = _ties(checkpoint)
    return [
        {
            "path": layer.path,
            "kinds": list(layer.candidates or (layer.kind,)),
            "evidence": layer.evidence,
            "class": _class_name(checkpoint, layer),
            "attributes": dict(layer.attributes),
            "tensors": [
                _tensor(name, checkpoint.tensors[name], ties) for name in _sources(layer, names)
            ],
        }
        for layer in graph
    ]


def _class_name(checkpoint: Checkpoint, layer: Layer) -> str | None:
    module = checkpoint.modules.get(layer.path)
    return module.class_name if module else None


def _sources(layer: Layer, names: dict[int, str]) -> list[str]:
    origins = [o for tensor in layer.params.values() for o in trace(tensor, names).origins]
    return list(dict.fromkeys(names[id(o)] for o in origins if id(o) in names))


def _flat(checkpoint: Checkpoint) -> dict[str, Any]:
    ties = _ties(checkpoint)
    tensors = [_tensor(name, tensor, ties) for name, tensor in checkpoint.tensors.items()]
    return {
        "path": "",
        "kinds": ["unknown"],
        "evidence": "names that do not fit the framework",
        "class": None,
        "attributes": {},
        "tensors": tensors,
    }


def _tensor(name: str, tensor: Tensor, ties: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "tied": [other for other in ties.get(name, []) if other != name],
    }


def _ties(checkpoint: Checkpoint) -> dict[str, list[str]]:
    """Return name → all names of the same bytes with the same shape and dtype."""
    groups: dict[object, list[str]] = {}
    for name, tensor in checkpoint.tensors.items():
        spans = tensor.extents()
        if spans and tensor.nbytes:
            place = tuple((id(s.file), s.offset, s.length) for s in spans)
            groups.setdefault((place, tensor.shape, tensor.dtype), []).append(name)
    return {name: group for group in groups.values() if len(group) > 1 for name in group}
