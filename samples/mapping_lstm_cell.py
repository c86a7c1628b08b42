"""MindSpore's API mapping of torch.nn.LSTMCell, made exact, with and without bias.

    python samples/mapping_lstm_cell.py

Needs torch and MindSpore.
"""

import sys
import tempfile
from pathlib import Path

import mindspore
import numpy as np
import torch
from mindspore import Tensor, nn

import ckptconv

STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 10, 16
TOLERANCE = 2e-6


class Network(nn.Cell):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(FEATURES, HIDDEN, has_bias=bias)

    def construct(self, x, hx):
        return self.cell(x, hx)


def compare(bias: bool, folder: Path) -> bool:
    """Step both cells over a sequence; return whether they agree."""
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"cell": torch.nn.LSTMCell(FEATURES, HIDDEN, bias=bias)})
    torch.save(model.state_dict(), folder / "cell.pt")
    ckptconv.convert(folder / "cell.pt", folder / "cell.ckpt", to="mindspore", force=True)

    network = Network(bias).set_train(False)
    parameters = mindspore.load_checkpoint(str(folder / "cell.ckpt"))
    left = mindspore.load_param_into_net(network, parameters, strict_load=True)
    if left != ([], []):
        print(f"not loaded: {left}")
        return False

    x = np.ones((STEPS, BATCH, FEATURES), np.float32)
    ones = np.ones((BATCH, HIDDEN), np.float32)
    expected = torch.tensor(ones), torch.tensor(ones)
    found = Tensor(ones), Tensor(ones)  # must be given, as a tuple
    worst = 0.0
    for step in x:
        with torch.no_grad():
            expected = model["cell"](torch.tensor(step), expected)
        found = network(Tensor(step), found)
        for one, other in zip(expected, found, strict=True):
            worst = max(worst, np.abs(one.numpy() - other.asnumpy()).max())
    print(f"bias={bias}: h and c {tuple(expected[0].shape)} differ by at most {worst:.1e}")
    return bool(worst <= TOLERANCE)


def main(folder: Path) -> int:
    return int(not all([compare(True, folder), compare(False, folder)]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(Path(temporary)))
