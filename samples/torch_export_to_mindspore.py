"""A torch model to a MindSpore network, by way of torch.export.

usage: python torch_export_to_mindspore.py [folder]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import ckptconv

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 12)
        self.lstm = nn.LSTM(12, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.score = nn.Linear(16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, tokens):
        y, _ = self.lstm(self.embed(tokens))
        weights = torch.softmax(self.score(torch.tanh(y)), dim=1)
        return self.head((weights * y).sum(dim=1))


torch.manual_seed(0)
model, tokens = Tagger().eval(), torch.randint(0, 100, (2, 9))
batch = torch.export.Dim("batch")
program = torch.export.export(model, (tokens,), dynamic_shapes=({0: batch},))
torch.export.save(program, folder / "tagger.pt2")

ckptconv.convert(
    folder / "tagger.pt2",
    folder / "tagger_net.ckpt",
    to="mindspore",
    network=folder / "tagger_net.py",
)

sys.path.insert(0, str(folder))
import mindspore as ms  # noqa: E402
import tagger_net as net  # noqa: E402

found = net.load(str(folder / "tagger_net.ckpt"))(ms.Tensor(tokens.numpy())).asnumpy()
print("MindSpore differs from torch by", np.abs(found - model(tokens).detach().numpy()).max())
