"""MindSpore's API mapping of torch.nn.LSTM, made exact: the same weights, the same numbers.

    python samples/mapping_lstm.py

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

BATCH, STEPS, FEATURES, HIDDEN, LAYERS = 3, 5, 10, 16, 2
TOLERANCE = 2e-6


class Network(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, num_layers=LAYERS, batch_first=True)

    def construct(self, x, hx):
        return self.lstm(x, hx)


def main(folder: Path) -> int:
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(FEATURES, HIDDEN, LAYERS, batch_first=True)})
    torch.save(model.state_dict(), folder / "lstm.pt")
    ckptconv.convert(folder / "lstm.pt", folder / "lstm.ckpt", to="mindspore")

    network = Network().set_train(False)
    parameters = mindspore.load_checkpoint(str(folder / "lstm.ckpt"))
    left = mindspore.load_param_into_net(network, parameters, strict_load=True)
    if left != ([], []):
        print(f"not loaded: {left}")
        return 1

    x = np.ones((BATCH, STEPS, FEATURES), np.float32)
    h0 = c0 = np.ones((LAYERS, BATCH, HIDDEN), np.float32)
    with torch.no_grad():
        y, (h, c) = model["lstm"](torch.tensor(x), (torch.tensor(h0), torch.tensor(c0)))
    found, (hn, cn) = network(Tensor(x), (Tensor(h0), Tensor(c0)))  # hx is a tuple
    worst = 0.0
    for name, one, other in (("output", y, found), ("h_n", h, hn), ("c_n", c, cn)):
        difference = np.abs(one.numpy() - other.asnumpy()).max()
        print(f"{name} {tuple(one.shape)}: differs by at most {difference:.1e}")
        worst = max(worst, difference)
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(Path(temporary)))
