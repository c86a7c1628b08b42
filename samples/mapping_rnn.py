"""MindSpore's API mapping of torch.nn.RNN, made exact: four layers, relu, no bias.

    python samples/mapping_rnn.py

Needs torch and MindSpore. A state_dict does not record the nonlinearity: the report of the
conversion says that tanh is assumed, unless ``--kind rnn=RNN(nonlinearity='relu')`` tells.
"""

import sys
import tempfile
from pathlib import Path

import mindspore
import numpy as np
import torch
from mindspore import Tensor, nn

import ckptconv

FEATURES, HIDDEN, LAYERS = 2, 3, 4
TOLERANCE = 2e-6


class Network(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(FEATURES, HIDDEN, num_layers=LAYERS, nonlinearity="relu", has_bias=False)

    def construct(self, x, hx):
        return self.rnn(x, hx)


def main(folder: Path) -> int:
    torch.manual_seed(0)
    layer = torch.nn.RNN(FEATURES, HIDDEN, LAYERS, nonlinearity="relu", bias=False)
    model = torch.nn.ModuleDict({"rnn": layer})
    torch.save(model.state_dict(), folder / "rnn.pt")
    report = ckptconv.convert(
        folder / "rnn.pt",
        folder / "rnn.ckpt",
        to="mindspore",
        kinds={"rnn": "RNN(nonlinearity='relu')"},
    )
    print(report.layers[0].constructor)

    network = Network().set_train(False)
    parameters = mindspore.load_checkpoint(str(folder / "rnn.ckpt"))
    left = mindspore.load_param_into_net(network, parameters, strict_load=True)
    if left != ([], []):
        print(f"not loaded: {left}")
        return 1

    x = np.array([[[3.0, 4.0]]], np.float32)
    h0 = np.arange(1, 1 + LAYERS * HIDDEN, dtype=np.float32).reshape(LAYERS, 1, HIDDEN)
    with torch.no_grad():
        y, h = model["rnn"](torch.tensor(x), torch.tensor(h0))
    found, hn = network(Tensor(x), Tensor(h0))
    scale, worst = float(h.abs().max()), 0.0
    for name, one, other in (("output", y, found), ("h_n", h, hn)):
        difference = np.abs(one.numpy() - other.asnumpy()).max()
        print(f"{name} {tuple(one.shape)}: differs by at most {difference:.1e}")
        worst = max(worst, difference)
    return int(worst > TOLERANCE * scale)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(Path(temporary)))
