"""MindSpore's API mapping of tf.keras.layers.LSTM, made exact: the same weights and numbers.

    KERAS_BACKEND=torch python samples/mapping_keras_lstm.py

Needs Keras 3 with any backend, and MindSpore.
"""

import sys
import tempfile
from pathlib import Path

import keras
import mindspore
import numpy as np
from mindspore import Tensor, nn

import ckptconv

BATCH, STEPS, FEATURES, UNITS = 3, 5, 10, 16
TOLERANCE = 2e-6


class Network(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, UNITS, batch_first=True)

    def construct(self, x):
        return self.lstm(x)


def main(folder: Path) -> int:
    keras.utils.set_random_seed(0)
    x = keras.Input((STEPS, FEATURES))
    layer = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True, name="lstm")
    model = keras.Model(x, layer(x))
    model.save(folder / "lstm.keras")
    ckptconv.convert(folder / "lstm.keras", folder / "lstm.ckpt", to="mindspore")

    network = Network().set_train(False)
    parameters = mindspore.load_checkpoint(str(folder / "lstm.ckpt"))
    left = mindspore.load_param_into_net(network, parameters, strict_load=True)
    if left != ([], []):
        print(f"not loaded: {left}")
        return 1

    ones = np.ones((BATCH, STEPS, FEATURES), np.float32)
    y, h, c = (keras.ops.convert_to_numpy(part) for part in model(ones, training=False))
    found, (hn, cn) = network(Tensor(ones))
    worst = 0.0
    for name, one, other in (("output", y, found), ("h", h, hn[0]), ("c", c, cn[0])):
        difference = np.abs(one - other.asnumpy()).max()
        print(f"{name} {one.shape}: differs by at most {difference:.1e}")
        worst = max(worst, difference)
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(Path(temporary)))
