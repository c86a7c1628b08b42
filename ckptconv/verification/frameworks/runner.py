"""What a framework must do to judge: load a file by its own loader, run layers or the whole of it.

Frameworks are imported here alone, beside in-process filling, and only when a layer is to be run.
A runner never sees what ckptconv read from the file: it gets names.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np

from ckptconv.checkpoint import TorchFacts
from ckptconv.errors import CkptconvError
from ckptconv.graph.forms import Call, Facts, Form, Forms, slots
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import UNKNOWN
from ckptconv.graph.network import Network
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.counterparts import Names
from ckptconv.verification.reference.forward import Inputs, Outputs

Arrays = Mapping[str, Array]
Way = tuple[str, Callable[[Sequence[Array]], list[Array]]]
WITHOUT = "the proof in NumPy, which needs no framework"
WITHOUT_NETWORK = "the proof of weights and layers, without the network"


class NotRunError(CkptconvError):
    """A layer that cannot be run from what the framework loads; its weights are compared only."""


class Model(ABC):
    """A whole model of a file, as its framework loaded it.

    Attributes:
        batch: the only batch size that it takes; None for any.
        names: what it calls its outputs, where it does.
    """

    batch: int | None = None
    names: Sequence[str] = ()

    @abstractmethod
    def __call__(self, given: Sequence[Array]) -> list[Array]:
        """Return every output for the inputs of its network, or raise any exception."""

    @abstractmethod
    def halve(self) -> None:
        """Round every weight to float16, which is kept as it was otherwise."""


class Runner(ABC):
    """A framework.

    Attributes:
        module: the package to import.
        why: what makes it this framework, where the file's suffix does not tell.
        by: its name and version.
        forms: the column of the table of layers that layers are built by.
    """

    module: str
    why = ""

    def __init__(self, forms: Forms, device: str = "CPU") -> None:
        """Import the framework.

        Raises:
            CkptconvError: it is not installed, cannot be imported, or has no such device here.
        """
        try:
            self._framework = self._import()
        except ImportError as error:
            raise CkptconvError(
                f"{self.module} is needed to run this{self.why} and cannot be imported: {error}",
                hint=f"pip install 'ckptconv[{self.module}]'",
            ) from None
        self.device, self.forms = device, forms
        self.by = f"{self.module} {self._framework.__version__}"

    @contextmanager
    def explained(
        self, what: str, file: str | None = None, hint: str | None = None
    ) -> Iterator[None]:
        """Turn whatever the framework raises into one line."""
        try:
            yield
        except CkptconvError:
            raise
        except (Exception, SystemExit) as error:
            lines = [line.strip() for line in str(error).splitlines()]
            said = [line for line in lines if any(map(str.isalnum, line))]
            reason = " ".join(said[: 2 if said and said[0].endswith(":") else 1])
            problem = f"{self.by} {what}: {type(error).__name__}: {reason}"
            raise CkptconvError(problem, file=file, hint=hint) from None

    def _import(self) -> Any:
        return importlib.import_module(self.module)

    def open(self, graph: Graph) -> Callable[[Layer], Arrays]:
        """Let the framework load a graph's file; return what finds a layer's parameters in it.

        Raises:
            CkptconvError: the framework refuses the file.
        """
        with self.explained("cannot load it", graph.origin.path, WITHOUT):
            return self._open(graph)

    def _open(self, graph: Graph) -> Callable[[Layer], Arrays]:
        loaded, names, facts = self._load(graph.origin.path), Names(graph), graph.origin.facts
        if isinstance(facts, TorchFacts) and facts.selected:
            inside = f"{facts.selected}."
            loaded = {n[len(inside) :]: a for n, a in loaded.items() if n.startswith(inside)}

        def own(layer: Layer) -> Arrays:
            held, path = layer.params.items(), graph.origin.path
            changed = any(names.trace(tensor).operations for _, tensor in held)
            if changed and isinstance(layer, RecurrentLayer):
                raise NotRunError("its gates are read otherwise than the framework has them")
            return {name: _named(loaded, names.stored(t), t, path) for name, t in held}

        return own

    def _load(self, path: str) -> Arrays:
        """Return every array of a file by the name that the framework gives it."""
        raise NotImplementedError

    def model(self, graph: Graph, network: Network, *, beside: bool = False) -> Model:
        """Let the framework load the whole model of a file.

        Args:
            network: names the inputs that the model is given, in their order.
            beside: the file holds weights alone; the graph's origin has the configuration.

        Raises:
            CkptconvError: the framework refuses the file.
        """
        with self.explained("cannot load it", graph.origin.path, WITHOUT_NETWORK):
            return self._model(graph, network, beside=beside)

    def _model(self, graph: Graph, network: Network, *, beside: bool) -> Model:
        raise NotImplementedError("its files record no network")

    def written(self, module: Any, weights: str) -> Iterator[Way]:
        """Yield the ways to run a written network that was imported: (by whom, what to call).

        Whatever it raises comes as it is.
        """
        raise NotImplementedError("networks are not written for it")

    def run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
        """Run a layer in float32.

        Args:
            layer: its kind, sizes and attributes; its values are not used.
            arrays: canonical parameter name → values.

        Raises:
            CkptconvError: the framework cannot, on this device.
        """
        with self.explained(f"cannot run {layer.path or layer.kind} on {self.device}"):
            return self._run(layer, arrays, given)

    def call(self, layer: Layer, facts: Facts, held: Arrays, given: Sequence[Array]) -> Array:
        """Run a layer that is not recurrent, built by the table's call, in float32.

        Args:
            facts: what the call says (``codegen.arguments``).
            held: canonical parameter name → values, in the framework's own axes.
            given: inputs in torch's layout, as is what is returned.

        Raises:
            CkptconvError: the framework has no such layer, or the facts do not suffice.
        """
        form = self.forms.get(layer.kind)
        if form is None or form.nearest:
            raise NotRunError(f"{self.by} has no {layer.kind}")
        places, named = form.call.arguments(facts)
        if UNKNOWN in places or UNKNOWN in named.values():
            raise NotRunError("the file does not tell all arguments")
        own = {param.name: slot.name for param, slot in slots(layer.kind, self.forms) if slot}
        values = {own[name]: array for name, array in held.items() if name in own}
        with self.explained(f"cannot run {layer.path or layer.kind}"):
            return self._call(layer, self._built(form, facts), values, given)

    def build(self, call: Call, facts: Facts, **more: Any) -> Any:
        """Build a layer by a call of the table."""
        space = reduce(getattr, call.space.split("."), self._framework)
        return call.build(space, facts, **more)

    def _built(self, form: Form, facts: Facts) -> list[Any]:
        """Return a layer between those that stand for options it lacks; None where not needed."""
        around = [
            self.build(call, facts)
            if call and all(facts[fact] is not None for fact in call.places)
            else None
            for call in (form.before, form.after)
        ]
        return [around[0], self.build(form.call, facts), around[1]]

    @abstractmethod
    def _call(
        self, layer: Layer, built: list[Any], values: Arrays, given: Sequence[Array]
    ) -> Array:
        """Fill a layer strictly and run it in inference mode, or raise any exception."""

    @abstractmethod
    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
        """Run a layer, or raise any exception."""


def leaves(value: Any, order: Callable[[Iterable[Any]], list[Any]] = list) -> list[Any]:
    """Return the tensors of nested rows, and of dictionaries, whose keys have this order."""
    if isinstance(value, Mapping):
        value = [value[key] for key in order(value)]
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in leaves(item, order)]
    return [value]


def single(array: Array) -> Array:
    """Return an array as a framework takes it: float32, in C order."""
    return np.ascontiguousarray(array, np.float32)


def outputs(y: Any, state: Any, convert: Callable[[Any], Array]) -> Outputs:
    """Gather what a layer returned: ``state`` is h, or (h, c) of an LSTM."""
    h, c = state if isinstance(state, tuple) else (state, None)
    return Outputs(convert(y), convert(h), np.zeros(0) if c is None else convert(c))


def _named(
    loaded: Arrays, stored: tuple[str, tuple[int, ...]] | None, tensor: Tensor, file: str
) -> Array:
    """Find a name, which may stand below the key that the state_dict is kept under."""
    if stored is None or math.prod(stored[1]) != tensor.size:
        raise NotRunError("its weights are computed from what the file holds")
    name = stored[0]
    nested = [name] if name in loaded else [key for key in loaded if key.endswith("." + name)]
    if len(nested) != 1:
        raise CkptconvError("the framework does not find it", file=file, tensor=name, found=nested)
    return loaded[nested[0]]
