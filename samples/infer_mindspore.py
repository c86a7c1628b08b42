"""Run the converted sample in MindSpore and compare it with torch's outputs.

ckptconv torch2ms samples/tagger.pt
python samples/infer_mindspore.py samples/tagger.ckpt
"""

import sys
from pathlib import Path

import mindspore
import numpy as np
from mindspore import Tensor, nn

HERE = Path(__file__).parent
VOCABULARY, FEATURES, HIDDEN, TAGS = 40, 12, 16, 5
TOLERANCE = 2e-6


class Tagger(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, FEATURES)
        self.lstm = nn.LSTM(FEATURES, HIDDEN, num_layers=2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm((2 * HIDDEN,), epsilon=1e-5)  # torch's default
        self.head = nn.Dense(2 * HIDDEN, TAGS)

    def construct(self, tokens, h0, c0):
        states, (h, c) = self.lstm(self.embedding(tokens), (h0, c0))
        return self.head(self.norm(states)), h, c


def main(checkpoint: str) -> int:
    network = Tagger().set_train(False)
    parameters = mindspore.load_checkpoint(checkpoint)
    left = mindspore.load_param_into_net(network, parameters, strict_load=True)
    if left != ([], []):
        print(f"not loaded: {left}")
        return 1
    known = np.load(HERE / "tagger_outputs.npz")
    tokens = Tensor(known["tokens"].astype(np.int32))
    outputs = network(tokens, Tensor(known["h0"]), Tensor(known["c0"]))
    worst = 0.0
    for name, output in zip(("logits", "h", "c"), outputs, strict=True):
        error = np.abs(output.asnumpy() - known[name]).max() / max(1, np.abs(known[name]).max())
        print(f"{name:6} {output.shape}  largest difference from torch: {error:.1e}")
        worst = max(worst, float(error))
    print("equal" if worst <= TOLERANCE else f"differs by more than {TOLERANCE}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or [str(HERE / "tagger.ckpt")]))
