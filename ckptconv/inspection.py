"""``ckptconv inspect``: what a file holds, as JSON-like values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ckptconv import api, pipeline
from ckptconv.checkpoint import Checkpoint, IndexFacts, SafetensorsFacts, ties
from ckptconv.dialects import detect
from ckptconv.dialects.torch.quantized import ALLOW
from ckptconv.errors import AmbiguousKindError, CkptconvError, SeveralError
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.hints import parse_hint
from ckptconv.options import Framework, Pairs, ReadOptions, StrPath
from ckptconv.tensors.provenance import Provenance
from ckptconv.tensors.tensor import Tensor

SCHEMA = "ckptconv-inspect-1"
_MAX_CHOICES, _LONGEST = 32, 200
_OPEN = "the file does not tell; a note says what does"


def describe(
    path: StrPath,
    *,
    select: str | None = None,
    source: Framework | None = None,
    kinds: Pairs = (),
    rename: Pairs = (),
    config: StrPath | None = None,
) -> dict[str, Any]:
    """Return what a file holds, under these keys; see ``load`` for the options.

    - ``schema``, ``path``, ``container``, ``framework``;
    - ``metadata``: what the file tells of itself (``format_version``, ``keras_version``, …);
    - ``choices``: where it holds several models, what ``--select`` takes, with the number of
      tensors and bytes of each; nothing else is described then;
    - ``tensors``, ``parameters``, ``bytes``: how many, each tied tensor once;
    - ``modules``: each with ``path``, ``kinds`` (several where the file does not tell),
      ``evidence``, ``class``, ``attributes`` and ``tensors``: ``name``, ``dtype``, ``stored`` (the
      dtype of a quantized one), ``shape``, ``tied`` (its other names);
    - ``classes``: path → class of every module that the file names;
    - ``omitted``: name → the rule by which it is left out; ``notes``.

    A file whose names make no sense to its framework is described all the same: its parameters
    are listed without kinds, and a note says what is wrong.

    Raises:
        ContainerError: not a checkpoint, or damaged.
        CkptconvError: an option that does not fit the file.
    """
    options = ReadOptions(source=source, kinds=kinds, rename=rename, config=config)
    try:
        checkpoint = api.inspect(path, select=select)
    except SeveralError as error:
        return _document(Checkpoint("", {}, path=os.fsdecode(path)), [], {}, [str(error)]) | {
            "framework": "",
            "choices": [_choice(path, name) for name in error.choices[:_MAX_CHOICES]],
        }
    try:
        graph, open_, asked = _lifted(checkpoint, options)
    except CkptconvError as error:
        if options != ReadOptions():
            raise
        notes = [*checkpoint.notes, str(error)]
        return _document(checkpoint, [_flat(checkpoint)], checkpoint.omitted, notes)
    modules = _modules(checkpoint, graph, open_)
    return _document(checkpoint, modules, graph.omitted, [*asked, *graph.notes])


def _lifted(
    checkpoint: Checkpoint, options: ReadOptions
) -> tuple[Graph, dict[str, tuple[str, ...]], list[str]]:
    """Return a graph in which what the file leaves open is of the first kind that fits.

    Looking takes no leave; and whoever only looks wants to see the weights.

    Returns:
        The graph; path → the kinds that fit, where that is open; what a conversion would ask.
    """
    kinds: dict[str, tuple[str, ...]] = {}
    allow, asked = {*options.allow, ALLOW}, list[str]()
    while True:
        known = {path: parse_hint(path, fitting[0]) for path, fitting in kinds.items()}
        assumed = options.with_kinds({**options.kinds, **known}).allowing(allow)
        try:
            return pipeline.lift(checkpoint, assumed), kinds, asked
        except AmbiguousKindError as error:
            new = {p: fit for p, fit in error.choices.items() if fit and p not in kinds}
            if not (new or error.allow - allow):
                raise
            kinds, allow = kinds | new, allow | error.allow
            asked.append(str(error))


def _document(
    checkpoint: Checkpoint,
    modules: list[dict[str, Any]],
    omitted: Mapping[str, str],
    notes: Iterable[str],
) -> dict[str, Any]:
    groups = ties(checkpoint.tensors)
    again = {name for group in groups for name in group[1:]}
    once = [tensor for name, tensor in checkpoint.tensors.items() if name not in again]
    return {
        "schema": SCHEMA,
        "path": checkpoint.path,
        "container": checkpoint.format,
        "framework": _framework(checkpoint),
        "metadata": _told(checkpoint),
        "choices": [],
        "tensors": len(checkpoint.tensors),
        "parameters": sum(tensor.size for tensor in once),
        "bytes": sum(tensor.nbytes for tensor in once),
        "modules": modules,
        "classes": {p: m.class_name for p, m in checkpoint.modules.items() if m.class_name},
        "omitted": dict(omitted),
        "notes": list(notes),
    }


def _framework(checkpoint: Checkpoint) -> str:
    try:
        return detect(checkpoint)
    except CkptconvError:
        return ""  # a note says why


def _choice(path: StrPath, name: str) -> dict[str, Any]:
    try:
        tensors = api.inspect(path, select=name).tensors.values()
    except CkptconvError as error:
        return {"select": name, "error": str(error)}
    return {"select": name, "tensors": len(tensors), "bytes": sum(t.nbytes for t in tensors)}


def _modules(
    checkpoint: Checkpoint, graph: Graph, open_: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    origin, tied = checkpoint.provenance, _tied(checkpoint)
    return [
        {
            "path": layer.path,
            "kinds": list(open_.get(layer.hint_path) or layer.candidates or (layer.kind,)),
            "evidence": _OPEN if layer.hint_path in open_ else layer.evidence,
            "class": _class_name(graph, layer),
            "attributes": dict(layer.attributes),
            "tensors": [_tensor(name, checkpoint, tied) for name in _sources(layer, origin)],
        }
        for layer in graph
    ]


def _class_name(graph: Graph, layer: Layer) -> str | None:
    module = graph.origin.modules.get(layer.path)
    return module.class_name if module else None


def _sources(layer: Layer, origin: Provenance) -> list[str]:
    named = (origin.names(tensor) for tensor in layer.params.values())
    return list(dict.fromkeys(name for names in named for name in names))


def _flat(checkpoint: Checkpoint) -> dict[str, Any]:
    tied = _tied(checkpoint)
    return {
        "path": "",
        "kinds": ["unknown"],
        "evidence": "a note says why its layers are not told",
        "class": None,
        "attributes": {},
        "tensors": [_tensor(name, checkpoint, tied) for name in checkpoint.tensors],
    }


def _tensor(name: str, checkpoint: Checkpoint, tied: Mapping[str, list[str]]) -> dict[str, Any]:
    tensor: Tensor = checkpoint.tensors[name]
    return {
        "name": name,
        "dtype": tensor.dtype.name,
        "stored": (tensor.inputs[0] if tensor.label == ALLOW else tensor).dtype.name,
        "shape": list(tensor.shape),
        "tied": [other for other in tied.get(name, []) if other != name],
    }


def _tied(checkpoint: Checkpoint) -> dict[str, list[str]]:
    return {name: group for group in ties(checkpoint.tensors) for name in group}


def _told(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the short facts of a file by their names, those that it has."""
    facts = checkpoint.facts
    if isinstance(facts, SafetensorsFacts):
        told: Mapping[str, Any] = facts.texts
    elif isinstance(facts, IndexFacts):
        told = facts.metadata
    else:
        told = (
            {key: value for key, value in facts._asdict().items() if value != ""} if facts else {}
        )
    return {key: value for key, value in told.items() if _is_short(value)}


def _is_short(value: object) -> bool:
    return isinstance(value, (bool, int, float)) or (
        isinstance(value, str) and len(value) <= _LONGEST
    )
