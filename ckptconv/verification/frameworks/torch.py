"""torch as a runner: ``torch.load`` or safetensors, and its own recurrent modules."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ckptconv.graph.graph import RecurrentLayer
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.runner import Arrays, Runner, outputs, single
from ckptconv.verification.reference.forward import Inputs, Outputs, weights_of


class Torch(Runner):
    module = "torch"

    def _load(self, path: str) -> Arrays:
        if path.endswith(".safetensors"):
            state = importlib.import_module("safetensors.torch").load_file(path)
        else:
            state = self._framework.load(path, map_location="cpu", weights_only=True)
        return {name: _array(value) for name, value in _flat(state, self._framework.is_tensor)}

    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
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
        tensors = {name: torch.from_numpy(single(array)) for name, array in arrays.items()}
        module.load_state_dict(tensors, strict=True)
        x, h, c = (torch.from_numpy(single(a)) for a in (given.x, given.h, given.c))
        lengths = torch.from_numpy(given.lengths)
        packing = torch.nn.utils.rnn
        packed = packing.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        with torch.no_grad():
            y, state = module(packed, (h, c) if sizes.kind == "LSTM" else h)
        steps = given.x.shape[1]
        y = packing.pad_packed_sequence(y, batch_first=True, total_length=steps)[0]
        return outputs(y, state, _array)


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
    """Return a tensor as a float32 numpy array, or as it is if it holds no floats."""
    value = value.detach().cpu()
    return np.asarray((value.float() if value.is_floating_point() else value).numpy())
