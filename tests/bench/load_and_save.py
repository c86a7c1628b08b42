"""The copy that people write: torch.load, safetensors' save_file."""

import sys

import torch
from safetensors.torch import save_file

save_file(torch.load(sys.argv[1], map_location="cpu", mmap=True, weights_only=True), sys.argv[2])
