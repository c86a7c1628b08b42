"""torch as a runner: ``torch.load`` or safetensors, and its own recurrent modules."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ckptconv.codegen.arguments import facts_of
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Layer, RecurrentLayer
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

    def _call(
        self,
        layer: Layer,  # noqa: ARG002
        built: list[Any],
        values: Arrays,
        given: Sequence[Array],
    ) -> Array:
        torch = self._framework
        state = {name: torch.from_numpy(np.array(array)) for name, array in values.items()}
        built[1].eval().load_state_dict(state, strict=True)
        found = [torch.from_numpy(array) for array in given]
        with torch.no_grad():
            for step in filter(None, built):
                made = step(*found)
                found = [made[0] if isinstance(made, tuple) else made]
        return _array(found[0])

    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
        torch = self._framework
        sizes = weights_of(layer)
        form = self.forms[sizes.kind]
        if form is None:
            raise CkptconvError(f"{self.by} has no {sizes.kind}", tensor=layer.path)
        module = self.build(form.call, facts_of(layer, self.forms), batch_first=True).eval()
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
