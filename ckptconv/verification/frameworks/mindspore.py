"""MindSpore as a runner: ``load_checkpoint``, and its own recurrent cells."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ckptconv.codegen.arguments import facts_of
from ckptconv.errors import CkptconvError
from ckptconv.graph.forms import Forms
from ckptconv.graph.graph import Layer, RecurrentLayer
from ckptconv.spelling import option
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.runner import Arrays, Runner, Way, leaves, outputs, single
from ckptconv.verification.reference.forward import Inputs, Outputs, weights_of


class MindSpore(Runner):
    module = "mindspore"

    def __init__(self, forms: Forms, device: str = "CPU") -> None:
        os.environ.setdefault("GLOG_v", "3")
        super().__init__(forms, device)
        with self.explained(f"cannot run on {device} here", hint=option("device", "CPU")):
            # Each operation at once: handing a thousand little ones to another thread, and waiting
            # for it, was measured to take six to twelve times as long on two cores.
            self._framework.set_context(device_target=device, pynative_synchronize=True)

    def _load(self, path: str) -> Arrays:
        kind = "safetensors" if path.endswith(".safetensors") else "ckpt"
        found = self._framework.load_checkpoint(path, format=kind)
        return {name: _array(parameter) for name, parameter in found.items()}

    def written(self, module: Any, weights: str) -> Iterator[Way]:
        """Yield the network, which compiles to a graph, and its MINDIR, written and read again."""
        yield self.by, self._called(module.load(weights))
        with tempfile.TemporaryDirectory(prefix="ckptconv-") as folder:
            mindir = os.path.join(folder, "network.mindir")
            module.export(weights, mindir)
            yield f"{self.by}, MINDIR", self._called(module.open_mindir(mindir))

    def _called(self, network: Any) -> Callable[[Sequence[Array]], list[Array]]:
        tensor = self._framework.Tensor
        return lambda given: list(map(_array, leaves(network(*map(tensor, given)))))

    def _call(
        self,
        layer: Layer,  # noqa: ARG002
        built: list[Any],
        values: Arrays,
        given: Sequence[Array],
    ) -> Array:
        self._fill(built[1], values)
        indices = given[0].dtype.kind == "i"
        found = [
            self._framework.Tensor(a.astype(np.int32) if indices else single(a)) for a in given
        ]
        for step in filter(None, built):
            made = step.set_train(False)(*found)
            found = [made[0] if isinstance(made, tuple) else made]
        return _array(found[0])

    def _fill(self, cell: Any, values: Arrays) -> None:
        ms = self._framework
        within = ms.nn.CellList(
            [cell]
        )  # a BatchNorm that stands alone calls its statistics otherwise
        named = {f"0.{name}": np.ascontiguousarray(array) for name, array in values.items()}
        parameters = {name: ms.Parameter(array, name=name) for name, array in named.items()}
        left = ms.load_param_into_net(within, parameters, strict_load=True)
        if left != ([], []):
            raise CkptconvError(f"{self.by} does not take the parameters", found=left)

    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
        ms = self._framework
        sizes = weights_of(layer)
        form = self.forms[sizes.kind]
        if form is None:
            raise CkptconvError(f"{self.by} has no {sizes.kind}", tensor=layer.path)
        cell = self.build(form.call, facts_of(layer, self.forms), batch_first=True)
        self._fill(cell.set_train(False), arrays)
        x, h, c = (ms.Tensor(single(a)) for a in (given.x, given.h, given.c))
        ragged = (given.lengths != given.x.shape[1]).any()
        lengths = ms.Tensor(given.lengths.astype(np.int32)) if ragged else None
        y, state = cell(x, (h, c) if sizes.kind == "LSTM" else h, lengths)
        return outputs(y, state, _array)


def _array(value: Any) -> Array:
    """Return a tensor as a float32 numpy array, or as it is if it holds no floats."""
    floats = value.float() if "Float" in str(value.dtype) else value
    return np.asarray(floats.asnumpy())
