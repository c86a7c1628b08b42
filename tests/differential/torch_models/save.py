"""The ways in which torch users save a model."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

Save = Callable[[nn.Module, Path, Random], "tuple[str, dict[str, str]]"]
"""Returns the prefix that names have in the file, and options of the conversion."""

KEYS = ["state_dict", "model", "net", "ema", "hypernet", "vocab", "weights", "optim_model"]


def _state(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    torch.save(model.state_dict(), path)
    return "", {}


def _bare(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    torch.save(dict(model.state_dict()), path)
    return "", {}


def _legacy(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    return "", {}


def _module(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    torch.save(model, path)
    return "", {}


def _parallel(model: nn.Module, path: Path, rng: Random) -> tuple[str, dict[str, str]]:
    whole = nn.DataParallel(model)
    torch.save(whole if rng.random() < 0.4 else whole.state_dict(), path)
    return "module.", {}


def _compiled(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    torch.save(torch.compile(model).state_dict(), path)
    return "_orig_mod.", {}


def _averaged(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    torch.save(AveragedModel(model).state_dict(), path)
    return "module.", {}


def _lightning(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    state = OrderedDict((f"model.{name}", value) for name, value in model.state_dict().items())
    torch.save({"pytorch-lightning_version": "2.0", "epoch": 1, "state_dict": state}, path)
    return "model.", {}


def _checkpoint(model: nn.Module, path: Path, rng: Random) -> tuple[str, dict[str, str]]:
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    key = rng.choice(KEYS)
    value = {
        "epoch": 3,
        key: model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loss": torch.tensor(0.5),
        "rng": torch.get_rng_state(),
    }
    options = {}
    if rng.random() < 0.3:
        other = rng.choice([k for k in KEYS if k != key])
        value[other] = nn.Linear(2, 2).state_dict()
        options = {"select": key}
    torch.save(value, path)
    return "", options


def _traced(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(model, model.example, check_trace=False), path)
    return "", {}


def _exported(model: nn.Module, path: Path, _: Random) -> tuple[str, dict[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model, model.example), path)
    return "", {}


def _safetensors(model: nn.Module, path: Path, rng: Random) -> tuple[str, dict[str, str]]:
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, path, metadata=rng.choice([None, {"format": "pt"}]))
    return "", {}


SAVES: dict[str, tuple[Save, str]] = {
    "state_dict": (_state, ".pt"),
    "bare dict": (_bare, ".pt"),
    "legacy": (_legacy, ".pt"),
    "module": (_module, ".pt"),
    "DataParallel": (_parallel, ".pt"),
    "compiled": (_compiled, ".pt"),
    "averaged": (_averaged, ".pt"),
    "Lightning": (_lightning, ".ckpt"),
    "checkpoint": (_checkpoint, ".pt"),
    "safetensors": (_safetensors, ".safetensors"),
    "traced": (_traced, ".pt"),
    "exported": (_exported, ".pt2"),
    "live": (_state, ".pt"),
}
SHARES = [8, 2, 1, 6, 2, 2, 1, 1, 4, 3, 1, 0, 3]
TELLING = ("module", "traced", "live")
"""Ways that keep the class of every module."""
