"""Recurrent models of torch, as people write them, for torch.export."""

import torch
from torch import nn


class CRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.rnn = nn.LSTM(16, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 7)

    def forward(self, x):
        x = self.conv(x)
        b, c, h, w = x.shape
        x = x.permute(0, 3, 1, 2).reshape(b, w, c * h)
        y, _ = self.rnn(x)
        return torch.log_softmax(self.head(y), -1)


class Sentiment(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(10, 1)

    def forward(self, t):
        _, (h, _) = self.lstm(self.embed(t))
        return torch.sigmoid(self.fc(self.drop(torch.cat([h[-2], h[-1]], 1))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 6, batch_first=True)
        self.score = nn.Linear(6, 1)
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        y, h = self.gru(x)
        w = torch.softmax(self.score(torch.tanh(y)), dim=1)
        c = (w * y).sum(dim=1)
        return (self.out(c) + 0.5 * h[0][:, :3], w.squeeze(-1))


class DeepSpeech(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(5, 8)
        self.fc2 = nn.Linear(8, 8)
        self.rnn = nn.RNN(8, 6, nonlinearity="relu", bidirectional=True, batch_first=True)
        self.fc3 = nn.Linear(6, 4)

    def forward(self, x):
        x = torch.clamp(torch.relu(self.fc1(x)), 0, 20)
        x = nn.functional.hardtanh(self.fc2(x), 0, 20)
        y, _ = self.rnn(x)
        y = y[:, :, :6] + y[:, :, 6:]
        return nn.functional.log_softmax(self.fc3(y), dim=-1)


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)
        self.gcell = nn.GRUCell(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 4)
        c = torch.zeros_like(h)
        g = torch.zeros(x.shape[0], 4)
        ys = []
        for t in range(5):
            h, c = self.cell(x[:, t], (h, c))
            g = self.gcell(h, g)
            ys.append(self.out(g))
        return torch.stack(ys, 1)


class Multi(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4)
        self.a = nn.Linear(4, 2)
        self.b = nn.Linear(4, 3)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return {"a": self.a(y[-1]), "b": self.b(h.squeeze(0)), "c": c}


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(4)
        self.gn = nn.GroupNorm(2, 6)
        self.c = nn.Conv1d(4, 6, 3, padding="same")
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.bn = nn.BatchNorm1d(5)

    def forward(self, x):
        x = self.gn(self.c(self.ln(x).transpose(1, 2)))
        x = nn.functional.gelu(x).transpose(1, 2)
        y, _ = self.gru(x)
        return self.bn(y.mean(1))


class States(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x, h, c):
        y, (h, c) = self.lstm(x, (h, c))
        return (y, h, c)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.ModuleList([nn.LSTM(4, 4, batch_first=True) for _ in range(3)])
        self.p = nn.PReLU(4)

    def forward(self, x):
        for layer in self.l:
            x = x + layer(x)[0]
        return self.p(x.transpose(1, 2)).amax(dim=2)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(11, 4)
        self.gru = nn.GRU(4, 5, bidirectional=True, batch_first=True)
        self.dec = nn.GRU(5, 5, batch_first=True)
        self.proj = nn.Linear(10, 5)
        self.out = nn.Linear(10, 6)

    def forward(self, src, tgt):
        e, h = self.gru(self.emb(src))
        e = torch.tanh(self.proj(e))
        d, _ = self.dec(self.emb(tgt).repeat(1, 1, 2)[:, :, :5], h[:1])
        w = torch.softmax(torch.bmm(d, e.transpose(1, 2)) / 5**0.5, -1)
        return self.out(torch.cat([d, w @ e], -1))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(3, 8, 3, padding=2, dilation=2)
        self.rnn = nn.LSTM(4, 4, batch_first=True, num_layers=2, dropout=0.2)
        self.o = nn.Linear(4, 1)

    def forward(self, x):
        a = nn.functional.glu(self.a(x.transpose(1, 2)), dim=1).transpose(1, 2)
        y, _ = self.rnn(a)
        return self.o(y[:, -1, :]).squeeze(1)


class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv1d(3, 4, 3, stride=2)
        self.g = nn.GRU(4, 4, batch_first=True)
        self.o = nn.Linear(8, 2)

    def forward(self, x):
        y, _ = self.g(
            nn.functional.avg_pool1d(torch.relu(self.c(x.transpose(1, 2))), 2).transpose(1, 2)
        )
        return self.o(torch.cat([y.mean(dim=1), y.max(dim=1).values], dim=-1))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.LSTM(3, 4, batch_first=True)
        self.o = nn.Linear(8, 1)

    def forward(self, a, b):
        _, (x, _) = self.enc(a)
        _, (y, _) = self.enc(b)
        return self.o(torch.cat([(x[0] - y[0]).abs(), x[0] * y[0]], 1))


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Linear(6, 8), nn.LeakyReLU(0.1), nn.Linear(8, 8), nn.ELU(), nn.Dropout(0.1)),
            *(nn.Flatten(), nn.Linear(24, 3), nn.SiLU()),
        )

    def forward(self, x):
        return self.net(x)


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))
        self.lstm = nn.LSTM(4, 3, batch_first=True, bias=False)
        self.w = nn.Parameter(torch.randn(2, 3))

    def forward(self, x):
        y, _ = self.lstm(x * self.scale)
        return nn.functional.linear(y, self.w)


class PaddedPools(nn.Module):
    """The CRNN of text in pictures, whose later pools are high and padded."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.pool = nn.MaxPool2d((2, 2), (2, 1), (0, 1))
        self.mean = nn.AvgPool2d((3, 1), (2, 1), (1, 0))
        self.rnn = nn.LSTM(8, 5, bidirectional=True)
        self.head = nn.Linear(10, 7)

    def forward(self, x):
        x = self.mean(self.pool(self.conv(x) - 1.0)).flatten(1, 2).permute(2, 0, 1)
        return self.head(self.rnn(x)[0])


class Masked(nn.Module):
    """Attention, a mean and a choice that leave padding out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.gru = nn.GRU(4, 4, batch_first=True)
        self.score = nn.Linear(4, 1)

    def forward(self, t):
        x = self.embed(t)
        y, _ = self.gru(x)
        scores = self.score(y).squeeze(-1)
        w = torch.softmax(scores.masked_fill(t == 0, float("-inf")), -1)
        seen = ((t != 0) & (t < 8)).unsqueeze(-1).float()
        mean = (x * seen).sum(1) / seen.sum(1).clamp(min=1)
        kept = torch.where(y > x, y, x).masked_fill(~(t >= 3).unsqueeze(-1), 0.5)
        return torch.bmm(w.unsqueeze(1), x).squeeze(1), mean, kept


class Decoder(nn.Module):
    """A cell in a loop that reads what it wrote, from a learned first state and a context."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(1, 1, 4))
        self.gru = nn.GRU(7, 4, batch_first=True)
        self.cell = nn.GRUCell(2, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x, context):
        context = context.unsqueeze(1).expand(-1, x.shape[1], -1)
        first = self.first.expand(-1, x.shape[0], -1).contiguous()
        h = self.gru(torch.cat([x, context], -1), first)[1][0]
        y, ys = h.new_zeros(h.shape[0], 2), []
        for _ in range(4):
            h = self.cell(y, h)
            y = self.out(h)
            ys.append(y)
        return torch.stack(ys, 1)


class Parts(nn.Module):
    """Halves, steps, padding, a kernel that widens, attention of one head."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Linear(4, 8)
        self.wide = nn.ConvTranspose2d(1, 2, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x):
        a, b = self.gates(nn.functional.pad(x, (0, 0, 2, 1))).chunk(2, -1)
        y = a * torch.sigmoid(b)
        first, second, *_ = y.unbind(1)
        seen = nn.functional.scaled_dot_product_attention(y, x, x)
        return first - second, self.wide(y.unsqueeze(1)), seen


class Tied(nn.Module):
    """A language model that reads and writes with one table."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Embedding(11, 6)
        self.rnn = nn.LSTM(6, 6, 2, batch_first=True)
        self.decoder, self.plain = nn.Linear(6, 11), nn.Linear(6, 11, bias=False)
        self.decoder.weight = self.plain.weight = self.encoder.weight

    def forward(self, t):
        states, _ = self.rnn(self.encoder(t))
        return nn.functional.log_softmax(self.decoder(states), -1), self.plain(states)


class Attended(nn.Module):
    """torch's own attention and its encoder's layer, which a program computes step by step."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 6, batch_first=True)
        self.attn = nn.MultiheadAttention(6, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(6, 3, 8, batch_first=True)

    def forward(self, x):
        y, _ = self.rnn(x)
        found, weights = self.attn(y, y, y)
        seen, _ = self.attn(y[:, :2], y, y, need_weights=False)
        return self.layer(found), weights, seen


class Norms(nn.Module):
    """Convolutions whose weights are normed, in both ways, pools that reach over the end, and norms
    of instances."""

    def __init__(self):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 3, padding=1))
        self.second = nn.utils.weight_norm(nn.Conv1d(4, 4, 2))
        self.pool = nn.MaxPool1d(3, stride=2, padding=1, ceil_mode=True)
        self.mean = nn.AvgPool1d(2, ceil_mode=True)
        self.gru = nn.GRU(4, 3, batch_first=True)
        self.each = nn.InstanceNorm1d(4, affine=True, eps=0.1)
        self.kept = nn.InstanceNorm1d(4, affine=True, track_running_stats=True)

    def forward(self, x):
        y = self.each(self.second(torch.relu(self.first(x))))
        return self.gru(self.kept(self.mean(self.pool(y))).transpose(1, 2))[0]


class Transformer(nn.Module):
    """Any number of steps: positions, masks of padding, and of what comes later."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(11, 6), nn.Embedding(9, 6)
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)

    def forward(self, t):
        places = torch.arange(t.shape[1]).unsqueeze(0).expand_as(t)
        x = self.words(t) + self.places(places)
        before = nn.Transformer.generate_square_subsequent_mask(t.shape[1])
        return self.layer(x, src_key_padding_mask=t == 3), self.layer(x, src_mask=before)


def floats(*shape):
    return torch.randn(*shape)


def tokens(vocabulary, *shape):
    return torch.randint(0, vocabulary, shape)


def models():
    """Return name → (class, example inputs, the batch's axis in each, or those that are free)."""
    return {
        "crnn": (CRNN, (floats(2, 1, 8, 12),), (0,)),
        "sentiment": (Sentiment, (tokens(20, 2, 7),), (0,)),
        "attention": (Attention, (floats(2, 5, 4),), (0,)),
        "deepspeech": (DeepSpeech, (floats(2, 6, 5),), (0,)),
        "cells": (Cells, (floats(2, 5, 3),), (0,)),
        "multi": (Multi, (floats(5, 2, 3),), (1,)),
        "norm": (Norm, (floats(2, 6, 4),), (0,)),
        "states": (States, (floats(2, 5, 3), floats(1, 2, 4), floats(1, 2, 4)), (0, 1, 1)),
        "residual": (Residual, (floats(2, 5, 4),), (0,)),
        "encoder": (Encoder, (tokens(11, 2, 5), tokens(11, 2, 4)), (0, 0)),
        "gated": (Gated, (floats(2, 7, 3),), (0,)),
        "pool": (Pool, (floats(2, 11, 3),), (0,)),
        "shared": (Shared, (floats(2, 5, 3), floats(2, 6, 3)), (0, 0)),
        "classifier": (Classifier, (floats(2, 3, 6),), (0,)),
        "padded_pools": (PaddedPools, (floats(2, 1, 8, 9),), (0,)),
        "masked": (Masked, (torch.tensor([[0, 4, 8, 2, 1], [3, 8, 1, 0, 0]]),), (0,)),
        "decoder": (Decoder, (floats(2, 5, 3), floats(2, 4)), (0, 0)),
        "parts": (Parts, (floats(2, 5, 4),), (0,)),
        "tied": (Tied, (tokens(11, 2, 5),), (0,)),
        "attended": (Attended, (floats(2, 5, 3),), (0,)),
        "norms": (Norms, (floats(2, 3, 11),), (0,)),
        "transformer": (Transformer, (tokens(11, 3, 5),), ((0, 1),)),
        "bare": (Bare, (floats(2, 5, 4),), (0,)),
    }


def exported(name, path):
    """Save a model as torch.export does, of any batch; return (the model, inputs)."""
    torch.manual_seed(0)
    cls, inputs, axes = models()[name]
    model = cls().eval()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    for _, buffer in model.named_buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5)
    batch = torch.export.Dim("batch", min=1, max=64)
    free = torch.export.Dim.AUTO
    shapes = tuple(
        dict.fromkeys(axis, free) if isinstance(axis, tuple) else {axis: batch} for axis in axes
    )
    torch.export.save(torch.export.export(model, inputs, dynamic_shapes=shapes), path)
    return model, inputs
