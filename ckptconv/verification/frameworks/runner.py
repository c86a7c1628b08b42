"""What a framework must do to judge: load a file by its own loader, run layers of it.

Frameworks are imported here alone, beside in-process filling, and only when a layer is to be run.
A runner never sees what ckptconv read from the file: it gets names.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, Layer
from ckptconv.tensors.tensor import Array
from ckptconv.verification.counterparts import Names
from ckptconv.verification.reference.forward import Inputs, Outputs

Arrays = Mapping[str, Array]


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
            CkptconvError: it is not installed, or cannot be imported.
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

    def _import(self) -> Any:
        return importlib.import_module(self.module)

    def open(self, graph: Graph) -> Callable[[Layer], Arrays]:
        """Let the framework load a graph's file; return what finds a layer's parameters in it.

        Raises:
            CkptconvError: the framework refuses the file.
        """
        try:
            return self._open(graph)
        except CkptconvError:
            raise
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise CkptconvError(
                f"{self.by} cannot load it: {type(error).__name__}: {reason}",
                file=graph.path,
                hint="the proof without --run, which needs no framework",
            ) from None

    def _open(self, graph: Graph) -> Callable[[Layer], Arrays]:
        loaded, names = self._load(graph.path), Names(graph)
        return lambda layer: {
            param: _named(loaded, names.leaves(tensor)[0], graph.path)
            for param, tensor in layer.params.items()
        }

    def _load(self, path: str) -> Arrays:
        """Return every array of a file by the name that the framework gives it."""
        raise NotImplementedError

    @abstractmethod
    def run(self, layer: Layer, arrays: Arrays, given: Inputs) -> Outputs:
        """Run a layer in float32.

        Args:
            layer: its kind, sizes and attributes; its values are not used.
            arrays: canonical parameter name → values.
        """


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
