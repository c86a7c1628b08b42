"""The files that people of the stories have: made by torch, or by a Keras of long ago."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import nn

from tests.conftest import ROOT

GOLDEN = ROOT / "tests/golden/keras/keras224_default_full"


class Half(nn.Module):
    """A bidirectional layer and a Linear on each of its steps."""

    def __init__(self, given: int, hidden: int, out: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(given, hidden, bidirectional=True)
        self.embedding = nn.Linear(2 * hidden, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embedding(self.rnn(x)[0])


class CRNN(nn.Module):
    """Text in a picture, as crnn.pytorch has it, with fewer and smaller layers."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential()
        for name, layer in {
            "conv0": nn.Conv2d(1, 4, 3, padding=1),
            "pooling0": nn.MaxPool2d(2, 2),
            "conv1": nn.Conv2d(4, 8, 3, padding=1),
            "batchnorm1": nn.BatchNorm2d(8),
            "pooling1": nn.MaxPool2d(2, 2),
            "conv2": nn.Conv2d(8, 6, 2),
            "batchnorm2": nn.BatchNorm2d(6),
        }.items():
            self.cnn.add_module(name, layer)
        self.rnn = nn.Sequential(Half(6, 5, 7), Half(7, 5, 11))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(self.cnn(x).squeeze(2).permute(2, 0, 1))


def lightning(path: Path) -> tuple[CRNN, torch.Tensor]:
    """Save what a Lightning run leaves behind; return the network and an input."""
    torch.manual_seed(16)
    network, given = CRNN(), torch.rand(2, 1, 8, 20)
    optimizer = torch.optim.Adam(network.parameters())
    for _ in range(2):
        network(given).square().mean().backward()
        optimizer.step()
    torch.save(
        {
            "epoch": 1,
            "global_step": 2,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": {f"model.{k}": v for k, v in network.state_dict().items()},
            "loops": {"fit_loop": {"state_dict": {}}},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [optimizer.state_dict()],
            "hyper_parameters": {"hidden": 5},
        },
        path,
    )
    return network.eval(), given


def gan(path: Path) -> dict[str, nn.Module]:
    """Save the two networks of a GAN beside each other; return them."""
    torch.manual_seed(17)
    parts = {
        "generator": nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12)),
        "discriminator": nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 1)),
    }
    states = {name: part.state_dict() for name, part in parts.items()}
    torch.save({"step": 9, **states, "lr": 1e-4}, path)
    return parts


def ambiguous(path: Path) -> dict[str, torch.Tensor]:
    """Save several modules that may be of several kinds each; return the tensors."""
    torch.manual_seed(18)
    shapes = {
        "pieces.weight": (6, 6),
        "mix.0.weight": (5, 5),
        "mix.1.weight": (5, 5),
        "scale.weight": (6,),
        "scale.bias": (6,),
    }
    state = {name: torch.rand(shape) for name, shape in shapes.items()}
    torch.save(state, path)
    return state


def sentiment(path: Path) -> None:
    """Take a model of Keras 2.2.4, whose LSTM has hard_sigmoid gates."""
    shutil.copy(GOLDEN.with_suffix(".h5"), path)


def many(folder: Path, count: int) -> tuple[int, str]:
    """Fill a folder with files, some of them broken; return (how many are, one that is not clear).

    The good ones are one file under many names.
    """
    folder.mkdir()
    good, unclear = ROOT / "samples/tagger.pt", "m011.pt"
    for i in range(count):
        path = folder / f"m{i:03}.pt"
        if i % 40 == 7:
            path.write_bytes(b"PK\x03\x04 cut off")
        else:
            shutil.copy(good, path)
    ambiguous(folder / unclear)
    return len(range(7, count, 40)), unclear
