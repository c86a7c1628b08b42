"""What writing a network costs, and what a written one costs beside one written by hand.

CPU seconds, the least of several runs: conversion with and without ``network=``, then the first
and the later calls of an LSTM (4, steps, 32) → 64 in MindSpore: the module that was written and
the same by hand, as nn.LSTM and, with hard_sigmoid gates, as a cell in a loop.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import ckptconv

STEPS = (10, 100)
FEATURES, UNITS, BATCH = 32, 64, 4
BY_HAND = """
import mindspore as ms
from mindspore import nn, ops


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(32, 64, batch_first=True)

    @ms.jit
    def construct(self, x):
        y, _ = self.lstm(x)
        return y


class Loop(nn.Cell):
    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Dense(32, 256), nn.Dense(64, 256)

    @ms.jit
    def construct(self, x):
        h = c = ops.zeros((x.shape[0], 64), ms.float32)
        ys = []
        for t in range(x.shape[1]):
            i, f, g, o = ops.chunk(self.x(x[:, t]) + self.h(h), 4, -1)
            i, f, o = (ops.clamp(0.2 * n + 0.5, 0.0, 1.0) for n in (i, f, o))
            c = f * c + i * ops.tanh(g)
            h = o * ops.tanh(c)
            ys.append(h)
        return ops.stack(ys, 1)
"""


def least(run: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def source(folder: Path, gates: str) -> Path:
    """Return a Keras model of one LSTM, saved by Keras 3, in which hard_sigmoid has slope 1/6."""
    import keras

    x = keras.Input((None, FEATURES))
    layer = keras.layers.LSTM(UNITS, recurrent_activation=gates, return_sequences=True)
    path = folder / f"{gates}.keras"
    keras.Model(x, layer(x)).save(path)
    return path


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"no module: {path}")
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


def calls(network: Any, steps: int) -> tuple[float, float]:
    """Return the seconds of the first call, and of a later one."""
    import mindspore as ms

    x = ms.Tensor(np.random.RandomState(0).uniform(-1, 1, (BATCH, steps, FEATURES)).astype("f4"))
    first = least(lambda: network(x).asnumpy(), 1)
    return first, least(lambda: network(x).asnumpy(), 10)


def lines(folder: Path) -> Iterator[str]:
    """Yield what is measured, a line each."""
    (folder / "by_hand.py").write_text(BY_HAND)
    hand = module(folder / "by_hand.py")
    path = source(folder, "sigmoid")
    convert = partial(ckptconv.convert, path, folder / "m.ckpt", to="mindspore", force=True)
    written = partial(convert, network=folder / "m.py")
    written()
    both, alone = least(written, 20), least(convert, 20)
    yield f"writing the network: {1e3 * (both - alone):.1f} ms beside {1e3 * alone:.1f} ms"
    for gates, by_hand in (("sigmoid", hand.Net), ("hard_sigmoid", hand.Loop)):
        path, weights, text = (
            source(folder, gates),
            folder / f"{gates}.ckpt",
            folder / f"{gates}.py",
        )
        ckptconv.convert(path, weights, to="mindspore", network=text)
        makers = {"written": partial(module(text).load, str(weights)), "by hand": by_hand}
        for steps, (name, make) in product(STEPS, makers.items()):
            first, later = calls(make(), steps)
            yield (
                f"{gates:<12}  T={steps:<4} {name}  "
                f"first call {first:6.2f} s  later {1e3 * later:8.2f} ms"
            )
