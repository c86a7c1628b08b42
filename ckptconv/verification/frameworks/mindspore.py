"""MindSpore as a runner: ``load_checkpoint``, and its own recurrent cells."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import RecurrentLayer
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.runner import Arrays, Runner, outputs, single
from ckptconv.verification.reference.forward import Inputs, Outputs, weights_of


class MindSpore(Runner):
    module = "mindspore"

    def __init__(self, device: str = "CPU") -> None:
        os.environ.setdefault("GLOG_v", "3")
        super().__init__(device)
        with self.explained(f"cannot run on {device} here", hint="--device CPU"):
            # Each operation at once: handing a thousand little ones to another thread, and waiting
            # for it, was measured to take six to twelve times as long on two cores.
            self._framework.set_context(device_target=device, pynative_synchronize=True)

    def _load(self, path: str) -> Arrays:
        kind = "safetensors" if path.endswith(".safetensors") else "ckpt"
        found = self._framework.load_checkpoint(path, format=kind)
        return {name: _array(parameter) for name, parameter in found.items()}

    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
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
        parameters = {name: ms.Parameter(single(a), name=name) for name, a in arrays.items()}
        left = ms.load_param_into_net(cell, parameters, strict_load=True)
        if left != ([], []):
            raise CkptconvError(f"{self.by} does not take the parameters", found=left)
        x, h, c = (ms.Tensor(single(a)) for a in (given.x, given.h, given.c))
        ragged = (given.lengths != given.x.shape[1]).any()
        lengths = ms.Tensor(given.lengths.astype(np.int32)) if ragged else None
        y, state = cell(x, (h, c) if sizes.kind == "LSTM" else h, lengths)
        return outputs(y, state, _array)


def _array(value: Any) -> Array:
    """Return a tensor as a float32 numpy array, or as it is if it holds no floats."""
    floats = value.float() if "Float" in str(value.dtype) else value
    return np.asarray(floats.asnumpy())
