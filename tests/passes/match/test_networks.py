"""Networks ported to MindSpore the way published ones are: the plan, and equal outputs by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv.errors import UnmatchedError
from tests import networks as n

ms = pytest.importorskip("mindspore")
from mindspore import mint  # noqa: E402
from mindspore import nn as msnn  # noqa: E402

X = np.random.default_rng(3).normal(size=(2, 4)).astype("f4")
IMAGE = np.random.default_rng(4).normal(size=(2, 3, 6, 6)).astype("f4")


def chain(layers, x):
    for layer in layers:
        x = layer(x).tanh()
    return x


def linear():
    return nn.Linear(4, 4)


def dense():
    return msnn.Dense(4, 4)


class Chain(nn.Module):
    """Linear layers by these attribute names, called in the order ``calls``."""

    def __init__(self, names, calls=None, **more):
        super().__init__()
        for name in names:
            self.add_module(name, linear())
        for name, module in more.items():
            self.add_module(name, module)
        self.calls = calls or names

    def forward(self, x):
        return chain((getattr(self, name) for name in self.calls), x)


class Cells(msnn.Cell):
    """The same of Dense layers."""

    def __init__(self, names, calls=None):
        super().__init__()
        for name in names:
            setattr(self, name, dense())
        self.calls = calls or names

    def construct(self, x):
        return chain((getattr(self, name) for name in self.calls), x)


class Wrapped(nn.Module):
    def __init__(self, name, inner):
        super().__init__()
        self.add_module(name, inner)
        self.inner = name

    def forward(self, *x):
        return getattr(self, self.inner)(*x)


class WrappedCell(msnn.Cell):
    def __init__(self, name, inner):
        super().__init__()
        setattr(self, name, inner)
        self.inner = name

    def construct(self, *x):
        return getattr(self, self.inner)(*x)


class Folded(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))


class FoldedCell(msnn.Cell):
    def __init__(self):
        super().__init__()
        options = {"pad_mode": "valid", "has_bias": False}
        self.conv1, self.bn1 = msnn.Conv2d(3, 3, 3, **options), msnn.BatchNorm2d(3, eps=1e-5)
        self.conv2, self.bn2 = msnn.Conv2d(3, 5, 3, **options), msnn.BatchNorm2d(5, eps=1e-5)

    def construct(self, x):
        return self.bn2(self.conv2(ms.ops.relu(self.bn1(self.conv1(x)))))


class TwoDense(msnn.Cell):
    """An LSTM cell written by hand: i, f, g, o of two Dense layers."""

    def __init__(self):
        super().__init__()
        self.linear1, self.linear2 = msnn.Dense(4, 20), msnn.Dense(5, 20)

    def construct(self, x, h, c):
        i, f, g, o = ms.ops.chunk(self.linear1(x) + self.linear2(h), 4, axis=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTMCell(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = x.new_full((2, 5), 0.3)
        return self.head(self.rnn(x, (h, h * 2))[0])


class RecurrentCell(msnn.Cell):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = TwoDense(), msnn.Dense(5, 2)

    def construct(self, x):
        h = ms.ops.full((2, 5), 0.3, dtype=ms.float32)
        return self.head(self.rnn(x, h, h * 2))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(4, 6), nn.Linear(6, 4, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(2, 6), nn.LayerNorm(6)

    def forward(self, x):
        return self.out(self.norm2(self.norm1(self.words(x[:, 0].sign().long() + 1))))


class MixedCell(msnn.Cell):
    """nn's embedding and second norm, mint's first norm and output."""

    def __init__(self):
        super().__init__()
        self.words, self.out = msnn.Embedding(4, 6), mint.nn.Linear(6, 4, bias=False)
        self.norm1, self.norm2 = mint.nn.GroupNorm(2, 6), msnn.LayerNorm((6,), epsilon=1e-5)

    def construct(self, x):
        return self.out(self.norm2(self.norm1(self.words(x[:, 0].sign().astype(ms.int32) + 1))))


def two_encoders(kind):
    both = [kind(["fc1", "fc2"]) for _ in range(2)]
    if kind is Chain:
        return nn.ModuleDict(dict(zip(("img_enc", "txt_enc"), both, strict=True)))
    cell = WrappedCell("img_enc", both[0])
    cell.txt_enc = both[1]
    return cell


MAP = {
    f"rnn.{kind}_{side}": f"rnn.linear{number}.{kind}"
    for number, side in enumerate(("ih", "hh"), 1)
    for kind in ("weight", "bias")
}
PAIRS = {
    # name: (torch network, MindSpore network, the plan's options, its groups, those that convert)
    "a flattened Sequential": (
        lambda: nn.Sequential(*(m for _ in range(3) for m in (linear(), nn.Tanh()))),
        lambda: Cells(["0", "1", "2"]),
        {},
        {"proposed": {"0": "0", "2": "1", "4": "2"}},
        {"like_order": True},
    ),
    "an inserted segment": (
        lambda: Wrapped("decoder", Chain(["l1", "l2"])),
        lambda: WrappedCell("decoder", WrappedCell("decode", Cells(["l1", "l2"]))),
        {},
        {"forced": {"decoder.l1": "decoder.decode.l1", "decoder.l2": "decoder.decode.l2"}},
        {},
    ),
    "renumbered blocks": (
        lambda: Chain(["rnn1", "rnn2", "rnn3"]),
        lambda: Cells(["rnn0", "rnn1", "rnn2"]),
        {},
        {"proposed": {"rnn1": "rnn0", "rnn2": "rnn1", "rnn3": "rnn2"}},
        {"like_order": True},
    ),
    "an LSTMCell as two Dense": (
        Recurrent,
        RecurrentCell,
        {},
        {
            "forced": {"head": "head"},
            "impossible": [("rnn", None), (None, "rnn.linear1"), (None, "rnn.linear2")],
        },
        {"map": MAP},
    ),
    "declared in another order": (
        lambda: Chain(["l3", "l1", "l2"], ["l1", "l2", "l3"]),
        lambda: Cells(["first", "middle", "last"]),
        {},
        {"proposed": {"l3": "first", "l1": "middle", "l2": "last"}},
        {"map": {"l1": "first", "l2": "middle", "l3": "last"}},
    ),
    "two encoders from a list": (
        lambda: two_encoders(Chain),
        lambda: two_encoders(Cells),
        {"select": "model.0=img_enc,model.1=txt_enc"},
        {"forced": {f"{e}_enc.fc{i}": f"{e}_enc.fc{i}" for e in ("img", "txt") for i in (1, 2)}},
        {"select": "model.0=img_enc,model.1=txt_enc"},
    ),
    "unused layers": (
        lambda: Chain(["fc1", "fc2"], unused=linear(), aux=nn.Linear(4, 3)),
        lambda: Cells(["fc1", "fc2"]),
        {},
        {
            "ambiguous": [
                ("fc1", None),
                ("fc2", None),
                ("unused", None),
                (None, "fc1"),
                (None, "fc2"),
            ],
            "impossible": [("aux", None)],
        },
        {"drop": ["unused", "aux"]},
    ),
    "biases of convolutions folded": (
        Folded,
        FoldedCell,
        {},
        {
            "forced": {"bn1": "bn1", "conv2": "conv2", "bn2": "bn2"},
            "impossible": [("conv1", None), (None, "conv1")],
        },
        {"fold_bias": {"conv1": "bn1"}},
    ),
    "a common prefix": (
        lambda: Wrapped("network", Chain(["a", "b"])),
        lambda: WrappedCell("_backbone", Cells(["b", "a"], ["a", "b"])),
        {},
        {"forced": {"network.a": "_backbone.a", "network.b": "_backbone.b"}},
        {},
    ),
    "mint and nn mixed": (
        Mixed,
        MixedCell,
        {},
        {"forced": {name: name for name in ("words", "out", "norm1", "norm2")}},
        {},
    ),
}


@pytest.mark.parametrize(
    ("source", "target", "given", "groups", "options"), PAIRS.values(), ids=PAIRS
)
def test_a_published_pair(tmp_path, source, target, given, groups, options):
    module, cell = n.fill(source()), target()
    state = module.state_dict()
    if "select" in given:
        parts = [module[name].state_dict() for name in ("img_enc", "txt_enc")]
        state = {"epoch": 3, "model": parts}
    torch.save(state, tmp_path / "m.pt")
    (tmp_path / "like.txt").write_text("\n".join(str(p) for p in cell.get_parameters()))
    plan = ckptconv.match(tmp_path / "m.pt", tmp_path / "like.txt", **given)
    found = {
        "forced": {e.source: e.target for e in plan.forced},
        "proposed": {e.source: e.target for e in plan.proposed},
        "ambiguous": [(e.source, e.target) for e in plan.ambiguous],
        "impossible": [(e.source, e.target) for e in plan.impossible],
    }
    assert {group: entries for group, entries in found.items() if entries} == groups

    def convert(**options):
        return ckptconv.convert(
            tmp_path / "m.pt",
            tmp_path / "m.ckpt",
            to="mindspore",
            like=tmp_path / "like.txt",
            **options,
        )

    if not plan.complete:
        with pytest.raises(UnmatchedError) as error:
            convert()
        assert error.value.plan.to_dict()["impossible"] == plan.to_dict()["impossible"]
        assert not (tmp_path / "m.ckpt").exists()
    convert(**options)
    n.load_strictly(cell, tmp_path / "m.ckpt")
    compare(module, cell)


def compare(module, cell):
    names = [name for name in ("img_enc", "txt_enc") if hasattr(module, "keys")]
    x = IMAGE if isinstance(module, Folded) else X
    for one, other in [(module[k], getattr(cell, k)) for k in names] or [(module, cell)]:
        with torch.no_grad():
            expected = one(torch.from_numpy(x)).numpy()
        n.close(other.set_train(False)(ms.Tensor(x)).asnumpy(), expected)


def test_the_order_of_execution_settles_what_that_of_declaration_cannot(tmp_path):
    module, cell = n.fill(Chain(["l3", "l1", "l2"], ["l1", "l2", "l3"])), Cells(["a", "b", "c"])
    module.train()
    plan = ckptconv.match(module, cell, inputs=(X,))
    assert plan.complete
    assert plan.pairs() == {"l1": "a", "l2": "b", "l3": "c"}
    assert module.training
    torch.save(module.state_dict(), tmp_path / "m.pt")
    like = {name: p.shape for name, p in cell.parameters_dict().items()}
    options = {"map": plan.pairs(), "like": like}
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", **options)
    n.load_strictly(cell, tmp_path / "m.ckpt")
    compare(module.eval(), cell)


def test_a_tied_copy_needs_no_drop(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)
            self.head.weight = self.words.weight

    module = n.fill(Tied())
    torch.save(module.state_dict(), tmp_path / "m.pt")
    cell = WrappedCell("words", msnn.Embedding(7, 4))
    cell.head = msnn.Dense(4, 7)
    cell.head.weight = cell.words.embedding_table
    ms.save_checkpoint(cell, str(tmp_path / "like.ckpt"))
    held = [p.name for p in cell.get_parameters()]
    assert len(held) == 2
    target = tmp_path / "m.ckpt"
    ckptconv.convert(tmp_path / "m.pt", target, to="mindspore", like=tmp_path / "like.ckpt")
    n.load_strictly(cell, target)
    np.testing.assert_array_equal(
        cell.words.embedding_table.asnumpy(), module.words.weight.detach()
    )
    # and home again: the target has two names for what the source holds once
    twin = Tied()
    torch.save(twin.state_dict(), tmp_path / "twin.pt")
    ckptconv.convert(target, tmp_path / "back.pt", to="torch", like=tmp_path / "twin.pt")
    twin.load_state_dict(torch.load(tmp_path / "back.pt", weights_only=True), strict=True)
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in twin.state_dict().items())
