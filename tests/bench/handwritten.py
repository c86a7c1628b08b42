"""The script that people write: torch.load, rename, mindspore.save_checkpoint."""

import sys

import mindspore
import torch

state = torch.load(sys.argv[1], map_location="cpu", mmap=True, weights_only=True)
mindspore.save_checkpoint(
    [{"name": name, "data": mindspore.Tensor(value.numpy())} for name, value in state.items()],
    sys.argv[2],
)
