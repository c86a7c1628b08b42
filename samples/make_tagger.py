"""Make samples/tagger.pt and the outputs that a converted copy must reproduce.

Embedding → two-layer bidirectional LSTM → LayerNorm → Linear, with distinct weights and biases.
Needs torch; run from the repository's root: ``python samples/make_tagger.py``.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
VOCABULARY, FEATURES, HIDDEN, TAGS = 40, 12, 16, 5


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, FEATURES)
        self.lstm = nn.LSTM(FEATURES, HIDDEN, num_layers=2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * HIDDEN)
        self.head = nn.Linear(2 * HIDDEN, TAGS)

    def forward(self, tokens, h0, c0):
        states, (h, c) = self.lstm(self.embedding(tokens), (h0, c0))
        return self.head(self.norm(states)), h, c


def main() -> None:
    generator = torch.Generator().manual_seed(20260101)
    model = Tagger().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.5 if parameter.dim() > 1 else 0.3
            shift = 1.0 if name == "norm.weight" else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread / 2 + shift)
        tokens = torch.randint(VOCABULARY, (3, 9), generator=generator)
        h0, c0 = torch.randn(2, 4, 3, HIDDEN, generator=generator) * 0.5
        logits, h, c = model(tokens, h0, c0)
    torch.save(model.state_dict(), HERE / "tagger.pt")
    arrays = {"tokens": tokens, "h0": h0, "c0": c0, "logits": logits, "h": h, "c": c}
    np.savez(HERE / "tagger_outputs.npz", **{name: a.numpy() for name, a in arrays.items()})


if __name__ == "__main__":
    main()
