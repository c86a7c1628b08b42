"""What a format yields and takes: names, lazy tensors, and what the file says of its modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from ckptconv.io.reader import Source, Span
from ckptconv.tensors.provenance import Provenance
from ckptconv.tensors.tensor import Tensor

_TENSOR = 2 << 10
"""Bytes of memory that a tensor takes, without its values."""
_LEAST, _PER_BYTE = 64 << 20, 16
"""Memory that any file may take for its names, and more for each of its bytes."""

UNTIED = "; here each has values of its own: tie them in the network, once loaded"

Layout = Literal["legacy", "weights.h5"]
"""The two layouts of Keras's HDF5 files; see ``formats/keras/h5.py``."""


class Module(NamedTuple):
    """What a file itself says of one module.

    Attributes:
        class_name: the class, without its Python package where that is the framework's own
            (``LSTM``, ``Linear``), or ``None`` where the file does not tell.
        version: torch's ``_metadata`` version (2 for BatchNorm and InstanceNorm, else 1).
        attributes: hyper-parameters under the source framework's names (JSON-like values only).
    """

    class_name: str | None = None
    version: int | None = None
    attributes: Mapping[str, Any] = {}


class KerasFacts(NamedTuple):
    """What a Keras file says beside its weights.

    Attributes:
        layout: of the file's names.
        config: ``model_config`` as parsed JSON.
        keras_version, backend: where recorded.
        weights: legacy: layer → the names of its weights, every layer in the model's order.
        names: weights.h5: group → Keras's name of the object.
    """

    layout: Layout
    config: Mapping[str, Any] | None = None
    keras_version: str = ""
    backend: str = ""
    weights: Mapping[str, tuple[str, ...]] = {}
    names: Mapping[str, str] = {}


class SafetensorsFacts(NamedTuple):
    """The texts of ``__metadata__``; ``format`` names the framework (``pt``, ``ms``)."""

    texts: Mapping[str, str] = {}


class TorchFacts(NamedTuple):
    """What a torch file says beside its weights.

    Attributes:
        selected: the path of the weights in a training checkpoint.
        format_version, torch_version: where recorded.
        program: the graph of an exported program, as parsed JSON.
        constants: of that program, with the buffers that no state_dict has.
    """

    selected: str = ""
    format_version: str = ""
    torch_version: str = ""
    program: Mapping[str, Any] | None = None
    constants: Mapping[str, Tensor] = {}


class MindSporeFacts(NamedTuple):
    """``crc``: the file ends, or is to end, in MindSpore's CRC trailer."""

    crc: bool = False


class IndexFacts(NamedTuple):
    """The ``metadata`` object of a sharded checkpoint's index."""

    metadata: Mapping[str, Any] = {}


Facts = KerasFacts | SafetensorsFacts | TorchFacts | MindSporeFacts | IndexFacts


@dataclass(frozen=True)
class Checkpoint:
    """An ordered mapping from names to lazy tensors, as one file (or set of shards) holds it.

    Attributes:
        format: the registry name of the format (``torch-zip``, ``hdf5``, …).
        tensors: source names, in the file's order.
        modules: path → Module, in the file's order; ``""`` is the root.
        facts: what else the file tells, by the family of its format.
        omitted: name → the rule by which the format left an entry out.
        notes: remarks for the report.
        files: the open files, so that a change during the conversion is noticed.
        path: as the user gave it; ``""`` where there is no file.
    """

    format: str
    tensors: Mapping[str, Tensor]
    modules: Mapping[str, Module] = field(default_factory=dict)
    facts: Facts | None = None
    omitted: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[Source, ...] = ()
    path: str = ""

    @cached_property
    def provenance(self) -> Provenance:
        """The names of the tensors, for all that is computed from them."""
        return Provenance(self.tensors)


def join(path: str, name: str) -> str:
    """Return the full name of what stands in a module; the root's path is ``""``."""
    return f"{path}.{name}" if path else name


def most_tensors(file: Source) -> int:
    """Return how many tensors a file may hold: a little one must not fill a service's memory."""
    return (_LEAST + _PER_BYTE * file.size) // _TENSOR


def ties(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the groups of names whose bytes, shape and dtype are the same.

    The same storage is not enough: flattened weights of one LSTM lie in one, side by side.
    """
    places: dict[tuple[Span | int, ...], list[str]] = {}
    for name, tensor in tensors.items():
        places.setdefault(tuple(tensor.extents() or (id(tensor),)), []).append(name)
    groups: dict[object, list[str]] = {}
    for place, names in places.items():
        for name in names if len(names) > 1 else ():
            tensor = tensors[name]
            if tensor.nbytes:
                groups.setdefault((place, tensor.shape, tensor.dtype), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def tie_notes(
    source: Mapping[str, Tensor],
    made: Iterable[tuple[str, Sequence[str]]],
    target: Mapping[str, Tensor],
) -> list[str]:
    """Say what becomes of the ties of a source, such as an embedding that is the output layer too.

    Args:
        made: (name in the target, names of what it was made of).
        target: what can be tied there.
    """
    groups = ties(source)
    if not groups:
        return []
    here, of, notes = [{*names} for names in ties(target)], dict[str, set[str]](), list[str]()
    for new, sources in made:
        for old in sources:
            of.setdefault(old, set()).add(new)
    for names in groups:
        targets = set[str]().union(*(of.get(name, ()) for name in names))
        stay = any(targets <= group for group in here)
        rule = ", and one storage here" if stay else UNTIED
        notes += [f"{', '.join(names)}: one tensor in the source{rule}"] if len(targets) > 1 else []
    return notes
