"""Parameters of a user's own classes, called as those of layers: what was written is proven."""

from pathlib import Path

import pytest
import torch

import ckptconv
from ckptconv.graph.graph import Framework

OWN = {
    "norm": {"gamma": (4,), "beta": (4,)},
    "norm of channels": {"gamma": (1, 4, 1), "beta": (1, 4, 1)},
    "old norm": {"a2": (4,), "b2": (4,)},
    "moving": {"gamma": (4,), "beta": (4,), "moving_mean": (4,), "moving_variance": (4,)},
    "list": {"0": (1,), "1": (1,), "2": (1,)},
    "list of a matrix": {"0": (3, 4), "1": (4,)},
    "LSTM": {"kernel": (5, 16), "recurrent_kernel": (4, 16), "bias": (16,)},
    "GRU": {"kernel": (5, 12), "recurrent_kernel": (4, 12), "bias": (12,), "recurrent_bias": (12,)},
    "product": {"kernel": (4, 5), "bias": (5,)},
    "square": {"kernel": (4, 4)},
    "table": {"embeddings": (7, 4)},
    "slopes": {"alpha": (4,)},
    "states": {"h0": (1, 4), "c0": (1, 4)},
}
TARGETS = [("mindspore", ".ckpt"), ("mint", ".ckpt"), ("keras", ".h5"), ("torch", ".safetensors")]


@pytest.mark.parametrize(("to", "suffix"), TARGETS)
@pytest.mark.parametrize("path", ["own.", "enc.own.", "enc.0.", ""])
@pytest.mark.parametrize("own", OWN)
def test_what_was_kept_is_proven(
    tmp_path: Path, own: str, path: str, to: Framework, suffix: str
) -> None:
    torch.manual_seed(1)
    state = {f"{path}{name}": torch.rand(shape) + 0.1 for name, shape in OWN[own].items()}
    state |= {"fc.weight": torch.rand(3, 4), "fc.bias": torch.rand(3)}
    source, target = tmp_path / "in.pt", tmp_path / f"out{suffix}"
    torch.save(state, source)
    ckptconv.convert(source, target, to=to)
    assert ckptconv.verify(source, target).ok
    changed = {name: value + (name.endswith((*OWN[own],))) for name, value in state.items()}
    torch.save(changed, source)
    assert not ckptconv.verify(source, target).ok
