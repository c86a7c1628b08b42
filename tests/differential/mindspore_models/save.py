"""The ways in which MindSpore users save a model: alone, or with what trains it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import mindspore as ms
from mindspore import mint, nn
from mindspore.experimental import optim as experimental

_MOMENTUM = {"learning_rate": 0.1, "momentum": 0.9}
OPTIMIZERS: list[tuple[Any, dict[str, Any]]] = [
    (nn.Momentum, _MOMENTUM),
    (nn.Adam, {}),
    (nn.Adam, {"use_amsgrad": True}),
    (nn.Adam, {"learning_rate": [0.1, 0.2], "weight_decay": 0.1}),
    (nn.AdamWeightDecay, {}),
    (nn.LazyAdam, {}),
    (nn.AdamOffload, {}),
    (nn.Lamb, {"learning_rate": 0.1}),
    (nn.SGD, {"momentum": 0.9}),
    (nn.ASGD, {}),
    (nn.Rprop, {}),
    (nn.FTRL, {}),
    (nn.RMSProp, {}),
    (nn.RMSProp, {"centered": True}),
    (nn.ProximalAdagrad, {}),
    (nn.Adagrad, {}),
    (nn.AdaFactor, {}),
    (nn.AdaMax, {}),
    (nn.Adadelta, {}),
    (mint.optim.Adam, {}),
    (mint.optim.AdamW, {}),
    (mint.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (experimental.Adam, {}),
    (experimental.NAdam, {}),
    (experimental.Adamax, {}),
]


class Trainer(nn.Cell):
    """What a user's own training Cell looks like: the optimizer is one of its Cells."""

    def __init__(self, network: Any, optimizer: Any) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer


class Averaged(Trainer):
    """A Trainer that keeps an average of the parameters beside them."""

    def __init__(self, network: Any, optimizer: Any) -> None:
        super().__init__(network, optimizer)
        self.ema = optimizer.parameters.clone("ema", init="same")


class Reversed(nn.Cell):
    def __init__(self, network: Any, optimizer: Any) -> None:
        super().__init__()
        self.opt = optimizer
        self.net = network


def optimizer(network: Any, rng: Random) -> Any:
    make, options = rng.choice(OPTIMIZERS)
    parameters = network.trainable_params()
    grouped = issubclass(make, nn.Optimizer) and make is not nn.FTRL and len(parameters) > 1
    if grouped and rng.random() < 0.4 and not isinstance(options.get("learning_rate"), list):
        first, *rest = parameters
        parameters = [{"params": [first], "lr": 0.01}, {"params": rest}]
    made = make(parameters, **options)
    return nn.LARS(made) if make is nn.Momentum and rng.random() < 0.3 else made


def _plain(network: Any, _: Random) -> tuple[Any, str]:
    return network, ""


def _one_step(network: Any, rng: Random) -> tuple[Any, str]:
    whole = nn.CellList([optimizer(network, rng)], auto_prefix=False)
    whole.append(network)
    return whole, ""


def _trainer(network: Any, rng: Random) -> tuple[Any, str]:
    return Trainer(network, optimizer(network, rng)), "network."


def _averaged(network: Any, rng: Random) -> tuple[Any, str]:
    return Averaged(network, optimizer(network, rng)), "network."


def _reversed(network: Any, rng: Random) -> tuple[Any, str]:
    return Reversed(network, optimizer(network, rng)), "net."


def _wrapped(network: Any, _: Random) -> tuple[Any, str]:
    return nn.CellDict({"_backbone": network}), "_backbone."


WRAPS: dict[str, Callable[[Any, Random], tuple[Any, str]]] = {
    "plain": _plain,
    "one step": _one_step,
    "trainer": _trainer,
    "reversed": _reversed,
    "wrapped": _wrapped,
    "averaged": _averaged,
}
SHARES = [5, 5, 4, 3, 2, 2]


def save(whole: Any, path: Path, rng: Random) -> None:
    options: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        options["format"] = "safetensors"
    elif rng.random() < 0.3:
        options["append_dict"] = {"epoch_num": 4, "step_num": 7}
    ms.save_checkpoint(whole, str(path), **options)
