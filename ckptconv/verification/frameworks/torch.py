"""torch as a runner: ``torch.load`` or safetensors, and its own recurrent modules."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ckptconv.codegen.arguments import facts_of
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.network import Network
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.runner import (
    Arrays,
    Model,
    Runner,
    Way,
    leaves,
    outputs,
    single,
)
from ckptconv.verification.reference.forward import Inputs, Outputs, weights_of


class Torch(Runner):
    module = "torch"

    def _load(self, path: str) -> Arrays:
        if path.endswith(".safetensors"):
            state = importlib.import_module("safetensors.torch").load_file(path)
        else:
            state = self._framework.load(path, map_location="cpu", weights_only=True)
        return {name: _array(value) for name, value in _flat(state, self._framework.is_tensor)}

    def _model(self, graph: Graph, network: Network, *, beside: bool) -> Model:  # noqa: ARG002
        return _Exported(self._framework, graph.origin.path)

    def written(self, module: Any, weights: str) -> Iterator[Way]:
        torch, network = self._framework, module.load(weights)

        def call(given: Sequence[Array]) -> list[Array]:
            with torch.no_grad():
                return list(map(_array, leaves(network(*map(torch.from_numpy, given)))))

        yield self.by, call

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


class _Exported(Model):
    """What torch.export saved, called as it was exported."""

    def __init__(self, torch: Any, path: str) -> None:
        self._torch = torch
        self._program = torch.export.load(path)
        self._module = self._program.module()

    def __call__(self, given: Sequence[Array]) -> list[Array]:
        torch, rest = self._torch, iter(given)
        tree = importlib.import_module("torch.utils._pytree")
        specs = self._program.graph_signature.input_specs
        filled = [
            spec.arg.value if hasattr(spec.arg, "value") else torch.from_numpy(next(rest))
            for spec in specs
            if spec.kind.name == "USER_INPUT"
        ]
        args, options = tree.tree_unflatten(filled, self._program.call_spec.in_spec)
        with torch.no_grad():
            found = leaves(self._module(*args, **options))
        return [_array(value) for value in found if value is not None]

    def halve(self) -> None:
        for value in self._module.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half())


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
