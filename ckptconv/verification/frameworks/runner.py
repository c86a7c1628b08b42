"""Layers run by the frameworks themselves, from files that the frameworks themselves loaded.

The only place, beside in-process filling, where torch, MindSpore or Keras is imported, and only
when a layer is to be run. A runner never sees what ckptconv read from the file: it gets names.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, Layer
from ckptconv.tensors.tensor import Array
from ckptconv.verification.counterparts import Names
from ckptconv.verification.reference.forward import Inputs, Outputs, weights_of

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


class Torch(Runner):
    module = "torch"

    def _load(self, path: str) -> Arrays:
        if path.endswith(".safetensors"):
            state = importlib.import_module("safetensors.torch").load_file(path)
        else:
            state = self._framework.load(path, map_location="cpu", weights_only=True)
        return {name: _array(value) for name, value in _flat(state, self._framework.is_tensor)}

    def run(self, layer: Layer, arrays: Arrays, given: Inputs) -> Outputs:
        torch = self._framework
        sizes = weights_of(layer)
        layers, directions, hidden, out = sizes.shape
        options: dict[str, Any] = {"proj_size": out} if out != hidden else {}
        options |= {"nonlinearity": sizes.style.activation} if sizes.kind == "RNN" else {}
        module = getattr(torch.nn, sizes.kind)(
            sizes.input_size,
            hidden,
            layers,
            bias="bias_ih_l0" in arrays,
            batch_first=True,
            bidirectional=directions == 2,
            **options,
        )
        tensors = {name: torch.from_numpy(_single(array)) for name, array in arrays.items()}
        module.load_state_dict(tensors, strict=True)
        x, h, c = (torch.from_numpy(_single(a)) for a in (given.x, given.h, given.c))
        lengths = torch.from_numpy(given.lengths)
        packing = torch.nn.utils.rnn
        packed = packing.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        with torch.no_grad():
            y, state = module(packed, (h, c) if sizes.kind == "LSTM" else h)
        steps = given.x.shape[1]
        y = packing.pad_packed_sequence(y, batch_first=True, total_length=steps)[0]
        return _outputs(y, state, _array)


class MindSpore(Runner):
    module = "mindspore"

    def __init__(self, device: str = "CPU") -> None:
        os.environ.setdefault("GLOG_v", "3")
        super().__init__(device)
        self._framework.set_context(device_target=device)

    def _load(self, path: str) -> Arrays:
        kind = "safetensors" if path.endswith(".safetensors") else "ckpt"
        found = self._framework.load_checkpoint(path, format=kind)
        return {name: _array(parameter) for name, parameter in found.items()}

    def run(self, layer: Layer, arrays: Arrays, given: Inputs) -> Outputs:
        ms = self._framework
        sizes = weights_of(layer)
        layers, directions, hidden, _ = sizes.shape
        options = {"nonlinearity": sizes.style.activation} if sizes.kind == "RNN" else {}
        cell = getattr(ms.nn, sizes.kind)(
            sizes.input_size,
            hidden,
            layers,
            has_bias="bias_ih_l0" in arrays,
            batch_first=True,
            bidirectional=directions == 2,
            **options,
        )
        parameters = {name: ms.Parameter(_single(a), name=name) for name, a in arrays.items()}
        left = ms.load_param_into_net(cell, parameters, strict_load=True)
        if left != ([], []):
            raise CkptconvError(f"{self.by} does not take the parameters", found=left)
        x, h, c = (ms.Tensor(_single(a)) for a in (given.x, given.h, given.c))
        ragged = (given.lengths != given.x.shape[1]).any()
        lengths = ms.Tensor(given.lengths.astype(np.int32)) if ragged else None
        y, state = cell(x, (h, c) if sizes.kind == "LSTM" else h, lengths)
        return _outputs(y, state, _array)


def _named(loaded: Arrays, name: str, file: str) -> Array:
    """Find a name, which may stand below the key that the state_dict is kept under."""
    nested = [name] if name in loaded else [key for key in loaded if key.endswith("." + name)]
    if len(nested) != 1:
        raise CkptconvError("the framework does not find it", file=file, tensor=name, found=nested)
    return loaded[nested[0]]


def _flat(state: Any, is_tensor: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the tensors of nested dictionaries under dotted names."""
    found: list[tuple[str, Any]] = []
    for key, value in state.items() if isinstance(state, Mapping) else ():
        if is_tensor(value):
            found.append((f"{prefix}{key}", value))
        else:
            found += _flat(value, is_tensor, f"{prefix}{key}.")
    return found


def _array(value: Any) -> Array:
    """Return a framework's tensor as a float32 numpy array, or as it is if it holds no floats."""
    if hasattr(value, "asnumpy"):
        single = value.float() if "Float" in str(value.dtype) else value
        return np.asarray(single.asnumpy())
    value = value.detach().cpu()
    return np.asarray((value.float() if value.is_floating_point() else value).numpy())


def _single(array: Array) -> Array:
    return np.ascontiguousarray(array, np.float32)


def _outputs(y: Any, state: Any, convert: Any) -> Outputs:
    h, c = state if isinstance(state, tuple) else (state, None)
    return Outputs(convert(y), convert(h), np.zeros(0) if c is None else convert(c))
