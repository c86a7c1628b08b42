"""A network, and every file that a torch user calls model.pt with it inside."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tests.formats.torch.test_legacy import Reference, tar_file

TOKENS = np.array([[1, 4, 9, 2, 7], [0, 10, 5, 6, 8]], "i4")
Save = Callable[[nn.Module, Path], object]


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 3, padding_idx=0)
        self.lstm = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True, dropout=0.25)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.ln = nn.LayerNorm(6, eps=1e-3)
        self.fc = nn.Linear(6, 2, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc(self.ln(self.gru(self.lstm(self.embed(tokens))[0])[0]))


def prefixed(model: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return OrderedDict((prefix + name, value) for name, value in model.state_dict().items())


def trained(model: nn.Module) -> dict[str, Any]:
    """Return an optimizer's state with a tensor or two for each parameter."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


def lightning(model: nn.Module, path: Path) -> None:
    value = {
        "epoch": 3,
        "global_step": 90,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed(model, "model."),
        "loops": {"fit_loop": {"state_dict": {}, "mean": torch.tensor(1.0)}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [trained(model)],
        "lr_schedulers": [{"last_epoch": 1}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "loss": nn.CrossEntropyLoss(torch.ones(2))},
    }
    torch.save(value, path)


def tar_of_0_1(model: nn.Module, path: Path) -> None:
    storages, tensors, value = [], [], OrderedDict()
    for i, (name, tensor) in enumerate(model.state_dict().items()):
        storages.append((100 + i, torch.FloatStorage, tensor.numpy().reshape(-1)))
        tensors.append((i, 100 + i, tuple(tensor.shape), tensor.stride(), 0))
        value[name] = Reference(i)
    tar_file(path, storages, [], tensors, value)


def sharded(model: nn.Module, path: Path, *, safe: bool) -> None:
    state = list(model.state_dict().items())
    places = {}
    for i, part in enumerate((state[:7], state[7:])):
        file = f"model-{i}.{'safetensors' if safe else 'bin'}"
        (save_file if safe else torch.save)(dict(part), path.parent / file)
        places |= dict.fromkeys(dict(part), file)
    path.write_text(json.dumps({"metadata": {"total_size": 9}, "weight_map": places}))


def bundled(model: nn.Module, path: Path) -> None:
    torch.save(model.state_dict(), path.with_name("weights.th"))
    (path.with_name("config.json")).write_text("{}")
    with tarfile.open(path, "w:gz") as file:
        for name in ("config.json", "weights.th"):
            file.add(path.with_name(name), name)


def zipped(model: nn.Module, path: Path) -> None:
    torch.save(model.state_dict(), path.with_suffix(".raw"))
    path.write_bytes(gzip.compress(path.with_suffix(".raw").read_bytes()))


LEGACY = {"_use_new_zipfile_serialization": False}
FILES: dict[str, Save] = {
    "state_dict": lambda m, p: torch.save(m.state_dict(), p),
    "protocol 4": lambda m, p: torch.save(m.state_dict(), p, pickle_protocol=4),
    "protocol 5": lambda m, p: torch.save(m.state_dict(), p, pickle_protocol=5),
    "legacy": lambda m, p: torch.save(m.state_dict(), p, **LEGACY),
    "tar of 0.1": tar_of_0_1,
    "whole module": torch.save,
    "whole module, legacy": lambda m, p: torch.save(m, p, **LEGACY),
    "whole DataParallel": lambda m, p: torch.save(nn.DataParallel(m), p),
    "whole compiled module": lambda m, p: torch.save(torch.compile(m), p),
    "module, loss, optimizer": lambda m, p: torch.save([m, nn.L1Loss(), trained(m)], p),
    "scripted": lambda m, p: torch.jit.save(torch.jit.script(m), p),
    "traced": lambda m, p: torch.jit.save(torch.jit.trace(m, torch.from_numpy(TOKENS)), p),
    "exported": lambda m, p: torch.export.save(
        torch.export.export(m, (torch.from_numpy(TOKENS),)), p
    ),
    "shards, bin": lambda m, p: sharded(m, p, safe=False),
    "shards, safetensors": lambda m, p: sharded(m, p, safe=True),
    "bundle": bundled,
    "gzip": zipped,
    "DataParallel": lambda m, p: torch.save(prefixed(m, "module."), p),
    "compiled": lambda m, p: torch.save(prefixed(m, "_orig_mod."), p),
    "compiled DataParallel": lambda m, p: torch.save(prefixed(m, "_orig_mod.module."), p),
    "compiled part": lambda m, p: torch.save(
        {k.replace("lstm.", "lstm._orig_mod."): v for k, v in m.state_dict().items()}, p
    ),
    "FSDP, checkpointed part": lambda m, p: torch.save(
        {
            k.replace("lstm.", "lstm._fsdp_wrapped_module._checkpoint_wrapped_module."): v
            for k, v in m.state_dict().items()
        },
        p,
    ),
    "AveragedModel": lambda m, p: torch.save(
        torch.optim.swa_utils.AveragedModel(m).state_dict(), p
    ),
    "Lightning": lightning,
    "EMA beside": lambda m, p: torch.save(
        {
            "state_dict": m.state_dict(),
            "ema_shadow": {"decay": 0.9, "shadow_params": list(m.parameters())},
        },
        p,
    ),
    "fairseq": lambda m, p: torch.save(
        {"cfg": {"a": None}, "model": m.state_dict(), "last_optimizer_state": trained(m)}, p
    ),
    "fastai": lambda m, p: torch.save({"model": m.state_dict(), "opt": trained(m)}, p),
}
SUFFIXES = {"exported": "m.pt2", "bundle": "m.tar.gz", "gzip": "m.pt.gz", "shards": "m.index.json"}
TELLING = {
    # files that keep what a state_dict does not
    "whole module",
    "whole module, legacy",
    "whole DataParallel",
    "whole compiled module",
    "module, loss, optimizer",
    "scripted",
    "exported",
}
