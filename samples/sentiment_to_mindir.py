"""An old Keras model with hard_sigmoid gates, which nn.LSTM has not, to MindSpore and a MINDIR.

usage: python sentiment_to_mindir.py [folder]
"""

import sys
from pathlib import Path

import make_sentiment
import numpy as np

import ckptconv

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
make_sentiment.main(folder)

# The weights and the network, in one step.
ckptconv.convert(
    folder / "sentiment.h5",
    folder / "sentiment.ckpt",
    to="mindspore",
    network=folder / "sentiment_net.py",
)

# What is left needs MindSpore alone.
sys.path.insert(0, str(folder))
import mindspore as ms  # noqa: E402
import sentiment_net as net  # noqa: E402

words = np.random.RandomState(0).randint(0, 200, (3, 40)).astype(np.int32)
now = net.load(str(folder / "sentiment.ckpt"))(ms.Tensor(words)).asnumpy()

net.export(str(folder / "sentiment.ckpt"), str(folder / "sentiment.mindir"))
run = net.open_mindir(str(folder / "sentiment.mindir"))
again = run(ms.Tensor(words)).asnumpy()
print("three texts:", now.ravel().round(4), "| the MINDIR differs by", np.abs(again - now).max())
