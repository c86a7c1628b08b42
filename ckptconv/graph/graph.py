"""The canonical graph: layers whose parameters follow one convention, whatever the source.

Parameters carry torch's names, shapes and axes; stacked gates are in the order of
``graph.gates.CANONICAL``. The graph knows no file and no framework's names but these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple, TypeGuard

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.tensors.tensor import Tensor

Framework = Literal["torch", "keras", "mindspore"]
RECURRENT = ("LSTM", "GRU", "RNN")
_PROJECTION = frozenset(("weight_hr", "weight_hr_l0"))
_NAME = re.compile(r"(weight|bias)_(ih|hh|hr)(?:_l(\d{1,4})(_reverse)?)?")


class Cell(NamedTuple):
    """The parameters of one layer and direction, gates stacked along axis 0.

    Shapes: w_ih (G·H, in), w_hh (G·H, H or P), b_ih and b_hh (G·H) or None, w_hr (P, H) or None.
    """

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    w_hr: Tensor | None = None


CELL_PARAMS = dict(
    zip(Cell._fields, ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"), strict=True)
)


@dataclass(frozen=True)
class Layer:
    """A module that holds parameters.

    Attributes:
        path: dotted, as the source names the module; ``""`` for the root.
        kind: a row of ``graph.kinds.KINDS``, or ``Parameter`` for what no row explains (then
            ``path`` is the parameter's own name and ``params`` has the one key ``""``).
        params: canonical name → values.
        attributes: hyper-parameters under torch's constructor names, where the source knows them.
        evidence: what decided the kind.
        candidates: every kind that what is known allows, ``kind`` first.
        notes: remarks for the report.
        assumed: settings of the source's layer that nothing records → what is assumed.
        read_as: the path that it was read under, where it was moved since.
    """

    path: str
    kind: str
    params: Mapping[str, Tensor]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = ""
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    assumed: Mapping[str, Any] = field(default_factory=dict)
    read_as: str | None = None

    @property
    def hint_path(self) -> str:
        """The path that ``kinds`` know it by."""
        return self.path if self.read_as is None else self.read_as

    def moved(self, path: str) -> Layer:
        """Return the layer under another path."""
        return replace(self, path=path, read_as=self.hint_path)

    def full_name(self, param: str) -> str:
        return f"{self.path}.{param}" if self.path and param else self.path or param


@dataclass(frozen=True)
class RecurrentLayer(Layer):
    """An LSTM, GRU or RNN of any number of layers and directions, or one of their cells.

    Attributes:
        gates_known: the source's own layout tells the order of the gates, so that nobody may say
            another.
    """

    gates_known: bool = False

    @property
    def base(self) -> str:
        """The kind without ``Cell``: ``LSTM``, ``GRU`` or ``RNN``."""
        return self.kind.removesuffix("Cell")

    @property
    def is_cell(self) -> bool:
        return self.kind.endswith("Cell")

    @property
    def num_layers(self) -> int:
        return 1 + max(level for level, _ in self.cells)

    @property
    def num_directions(self) -> int:
        return 1 + max(direction for _, direction in self.cells)

    @cached_property
    def cells(self) -> Mapping[tuple[int, int], Cell]:
        """The recurrent parameters by (layer, direction), in the order they are stored."""
        found: dict[tuple[int, int], dict[str, Tensor]] = {}
        for name, tensor in self.params.items():
            if parsed := _parse(name):
                found.setdefault(parsed[0], {})[parsed[1]] = tensor
        return {place: Cell(**params) for place, params in found.items()}


def is_projected(layer: Layer) -> TypeGuard[RecurrentLayer]:
    """Tell whether a layer is an LSTM with ``proj_size``."""
    return isinstance(layer, RecurrentLayer) and not _PROJECTION.isdisjoint(layer.params)


def cell_params(cell: Cell, layer: int | None = None, direction: int = 0) -> dict[str, Tensor]:
    """Return a cell's parameters under their canonical names (``weight_ih_l0_reverse``).

    ``layer=None`` gives the names of an LSTMCell, GRUCell or RNNCell.
    """
    suffix = "" if layer is None else f"_l{layer}" + ("_reverse" if direction else "")
    return {
        CELL_PARAMS[name] + suffix: tensor
        for name, tensor in cell._asdict().items()
        if tensor is not None
    }


def is_recurrent_name(name: str) -> bool:
    """Tell whether a parameter name is one of a recurrent layer's or cell's."""
    return _parse(name) is not None


@lru_cache(maxsize=1024)  # the same few names stand in every layer
def _parse(name: str) -> tuple[tuple[int, int], str] | None:
    """Return ((layer, direction), field of Cell) of a recurrent parameter's name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return (int(match[3] or 0), int(bool(match[4]))), f"{match[1][0]}_{match[2]}"


class Home(NamedTuple):
    """What the source of the conversion held that made a graph's file.

    Attributes:
        framework: whose names it had.
        reasons: name → what the file has not of it, or not as it was; ``""`` for the others.
        places: name in the graph's file → the names there that it came from, and goes back to.
        layout: of that source, where it was Keras's.
        shapes: of its weights; those of another shape here are these in the same order.
    """

    framework: str
    reasons: Mapping[str, str]
    places: Mapping[str, tuple[str, ...]] = {}
    layout: KerasFacts | None = None
    shapes: Mapping[str, tuple[int, ...]] = {}


@dataclass(frozen=True)
class Graph:
    """Layers in model order, and the checkpoint whose every tensor they account for.

    Attributes:
        layers: in the order of the source.
        dialect: where the names come from: ``torch``, ``keras`` or ``mindspore``.
        origin: what was read; ``origin.modules`` by the paths of the layers.
        omitted: source name → the rule by which it was left out.
        notes: remarks for the report.
        named: paths of layers that the user gave, module by module (``--map``).
        feeds: path → the path of the one layer that takes a layer's whole output, and nothing
            beside; None for a source of which the order of the layers is all there is to know.
        home: where ``--restore`` takes it.
    """

    layers: tuple[Layer, ...]
    dialect: Framework
    origin: Checkpoint
    omitted: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()
    feeds: Mapping[str, str] | None = None
    home: Home | None = None

    @property
    def recurrent(self) -> tuple[RecurrentLayer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, RecurrentLayer))

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, path: str) -> Layer:
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise KeyError(path)
