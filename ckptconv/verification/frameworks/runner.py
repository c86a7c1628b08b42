"""What a framework must do to judge: load a file by its own loader, run layers of it.

Frameworks are imported here alone, beside in-process filling, and only when a layer is to be run.
A runner never sees what ckptconv read from the file: it gets names.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.tensors.regions import Array
from ckptconv.verification.counterparts import Names
from ckptconv.verification.reference.forward import Inputs, Outputs

Arrays = Mapping[str, Array]
_WITHOUT = "the proof without --run, which needs no framework"


class Runner(ABC):
    """A framework.

    Attributes:
        module: the package to import.
        by: its name and version.
    """

    module: str

    def __init__(self, device: str = "CPU") -> None:
        """Import the framework.

        Raises:
            CkptconvError: it is not installed, cannot be imported, or has no such device here.
        """
        try:
            self._framework = self._import()
        except ImportError as error:
            raise CkptconvError(
                f"{self.module} is needed to run this and cannot be imported: {error}",
                hint=f"pip install 'ckptconv[{self.module}]'",
            ) from None
        self.device = device
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
        except Exception as error:
            reason = next(filter(None, map(str.strip, str(error).splitlines())), "")
            problem = f"{self.by} {what}: {type(error).__name__}: {reason}"
            raise CkptconvError(problem, file=file, hint=hint) from None

    def _import(self) -> Any:
        return importlib.import_module(self.module)

    def open(self, graph: Graph, select: str | None = None) -> Callable[[RecurrentLayer], Arrays]:
        """Let the framework load a graph's file; return what finds a layer's parameters in it.

        Args:
            select: the part of the file that the graph was read from.

        Raises:
            CkptconvError: the framework refuses the file.
        """
        with self.explained("cannot load it", graph.origin.path, _WITHOUT):
            return self._open(graph, select)

    def _open(self, graph: Graph, select: str | None) -> Callable[[RecurrentLayer], Arrays]:
        loaded, names = self._load(graph.origin.path), Names(graph)
        if select is not None:
            inside = f"{select}."
            loaded = {n[len(inside) :]: a for n, a in loaded.items() if n.startswith(inside)}
        return lambda layer: {
            param: _named(loaded, names.names(tensor)[0], graph.origin.path)
            for param, tensor in layer.params.items()
        }

    def _load(self, path: str) -> Arrays:
        """Return every array of a file by the name that the framework gives it."""
        raise NotImplementedError

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

    @abstractmethod
    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
        """Run a layer, or raise any exception."""


def single(array: Array) -> Array:
    """Return an array as a framework takes it: float32, in C order."""
    return np.ascontiguousarray(array, np.float32)


def outputs(y: Any, state: Any, convert: Callable[[Any], Array]) -> Outputs:
    """Gather what a layer returned: ``state`` is h, or (h, c) of an LSTM."""
    h, c = state if isinstance(state, tuple) else (state, None)
    return Outputs(convert(y), convert(h), np.zeros(0) if c is None else convert(c))


def _named(loaded: Arrays, name: str, file: str) -> Array:
    """Find a name, which may stand below the key that the state_dict is kept under."""
    nested = [name] if name in loaded else [key for key in loaded if key.endswith("." + name)]
    if len(nested) != 1:
        raise CkptconvError("the framework does not find it", file=file, tensor=name, found=nested)
    return loaded[nested[0]]
