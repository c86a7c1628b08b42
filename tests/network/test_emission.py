"""Names, order and reuse in written networks: what a change of ``codegen.emit`` must not break."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import ckptconv
from tests.network.written import close, flat, imported, run_mindspore, run_torch, written
from tests.networks import fill

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.core = nn.Linear(6, 6)

    def forward(self, x):
        return self.core(x)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        return self.norm(self.inner(x))


class Names(nn.Module):
    """Values, layers and modules are called like each other, and like what the text itself uses."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Linear(6, 6)
        self.outer = Outer()
        self.outer_inner = nn.Linear(6, 6)
        self.ops = nn.Linear(6, 6)
        self.softplus = nn.Linear(6, 6)

    def forward(self, softplus, ops, torch):
        y = F.dropout(self.dropout(softplus), 0.3, training=False)
        y = F.softplus(self.outer(y) + ops) + F.softmax(torch, -1)
        return self.ops(y) * self.softplus(ops), self.outer_inner(F.softplus(torch))


class Held(nn.Linear):
    """A layer that holds other layers."""

    def __init__(self):
        super().__init__(6, 6)
        self.norm = nn.LayerNorm(6)
        self.deep = nn.ModuleDict({"rnn": nn.GRU(6, 6, batch_first=True)})
        self.deep["rnn"].inner = nn.Linear(6, 6)

    def forward(self, x):
        states, _ = self.deep["rnn"](self.norm(super().forward(x)))
        return self.deep["rnn"].inner(states)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.held = Held()

    def forward(self, x):
        return self.held(x)


class Often(nn.Module):
    """Values that are taken again after others, twice by one operation, or by none but the end."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.lstm = nn.LSTM(6, 3, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(6, 6, batch_first=True)

    def forward(self, x):
        y = self.fc(x)
        square, unused = y * y, x.exp()
        del unused
        states, (h, c) = self.lstm(square)
        _, last = self.gru(states)
        both = (y - (x - square)) / (2 - (3 - y) * (y + 1))
        z = torch.minimum(torch.maximum(both, y), square)
        chain = torch.tanh(torch.exp(-torch.abs(torch.sin(torch.cos(z) - y) ** 2) * 3) + x)
        greater = ((z > 0) == (chain > 0.5)).to(torch.float32)
        results = both, states, c.sum(0), last[0], chain - greater, (-y) ** 2, (x - y)[:, -1], y, h
        return (*results, *chains(x, y, x > y))


def chains(x, y, greater):
    """Operators that each take the one before: where parentheses stand decides."""
    return (
        (2 - y) * x,
        y / (x * y),
        y / (2 + x.abs()),
        y - (x - y),
        0.5 / (y**2 + 1),
        (-(x + y)) ** 2,
        (x * y).sum(1),
        (y - x)[:, 1:],
        (x + y).transpose(1, 2),
        (x - y).transpose(2, 0)[..., ::2],
        torch.where((x + 1 > y) == greater, x, y),
        (x > y).to(torch.float32) * y,
        (2 * x + y).masked_fill(greater, 0.5),
        (1 - y).reshape(2, -1),
        F.softplus(x * 200) / 200,
    )


MODELS = {
    "names": (Names, [(2, 4, 6)] * 3),
    "often": (Often, [(2, 4, 6)]),
    "root that holds": (Held, [(2, 4, 6)]),
    "layer that holds": (Wrapped, [(2, 4, 6)]),
}


@pytest.fixture(params=MODELS)
def program(request, tmp_path):
    torch.manual_seed(5)
    model, shapes = MODELS[request.param]
    model, given = fill(model()), [torch.randn(shape) for shape in shapes]
    torch.export.save(torch.export.export(model, tuple(given)), tmp_path / "m.pt2")
    wanted = [value.detach().numpy() for value in flat(model(*given))]
    return tmp_path / "m.pt2", [x.numpy() for x in given], wanted


@pytest.mark.parametrize("target", ["torch", "mindspore"])
def test_names_and_reuse(target, program, tmp_path):
    path, given, wanted = program
    module, weights, names = written(path, target, tmp_path)
    run = run_torch if target == "torch" else run_mindspore
    close(run(module, weights, given), wanted, 2e-6)
    assert len(names) == len(given)
    text = weights.with_suffix(".py").read_text()
    assert ".exp(x)" not in text  # nothing needs it


def test_weights_that_the_network_does_not_use_are_left_out_when_asked(tmp_path):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(3, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    source, model, x = tmp_path / "m.pt2", fill(Half()), torch.randn(2, 3)
    torch.export.save(torch.export.export(model, (x,)), source)
    with pytest.raises(
        ckptconv.DialectError, match=r"all .*unused: spare; try .*'spare'"
    ) as caught:
        written(source, "torch", tmp_path)
    assert "drop=['spare']" in str(caught.value)
    names = {"to": "torch", "network": tmp_path / "net.py"}
    for path in (["used"], ["used.bias", "spare"]):
        with pytest.raises(ckptconv.DialectError, match=r"used: .*it uses this one"):
            ckptconv.convert(source, tmp_path / "m.pt", drop=path, **names)
    report = ckptconv.convert(source, tmp_path / "m.pt", drop=["spare"], **names)
    assert [*report.omitted] == ["spare.weight", "spare.bias"]
    found = run_torch(imported(tmp_path / "net.py"), tmp_path / "m.pt", [x.numpy()])
    close(found, [model(x).detach().numpy()], 1e-6)


def test_a_stub_that_is_called_with_several_numbers_of_values(tmp_path):
    import keras

    class Joined(keras.layers.Layer):
        def call(self, *values):
            return sum(values[1:], values[0])

    x, joined = keras.Input((3,), name="x"), Joined(name="joined")
    y = keras.layers.Dense(3, name="fc")(joined(x))
    keras.Model(x, joined(x, y)).save(tmp_path / "m.keras")
    module, weights, _ = written(tmp_path / "m.keras", "torch", tmp_path, stubs=["joined"])
    module.joined = lambda *values: sum(values[1:], values[0])
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = keras.Model(x, joined(x, y))
    close(run_torch(module, weights, [given]), [model.predict(given, verbose=0)], 1e-6)
    text = weights.with_suffix(".py").read_text()
    assert "def joined(*values):" in text


@pytest.mark.parametrize(
    ("length", "again", "unrolled"),
    [(5, None, True), (64, None, True), (65, None, False), (None, None, False), (3, 65, False)],
)
def test_only_short_loops_of_mindspore_are_unrolled(length, again, unrolled, tmp_path):
    """nn.GRU compiles step by step: slowly where they are many, and not where any may come."""
    import keras

    layers = [keras.Input((length, 2)), keras.layers.GRU(3, return_sequences=True)]
    if again is not None:
        layers[1:1] = [keras.layers.Flatten(), keras.layers.RepeatVector(again)]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    text = tmp_path / "net.py"
    ckptconv.convert(tmp_path / "m.keras", tmp_path / "m.ckpt", to="mindspore", network=text)
    assert ("nn.GRU(" in text.read_text()) is unrolled
    assert ("class GRU(Recurrent)" in text.read_text()) is not unrolled


def test_a_size_that_follows_from_a_free_one(tmp_path):
    import keras

    x = keras.Input((None, 4))
    keras.Model(x, keras.layers.Dense(3)(keras.layers.Reshape((-1, 2))(x))).save(tmp_path / "m.h5")
    given = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    wanted = keras.models.load_model(tmp_path / "m.h5").predict(given, verbose=0)
    for target, run in (("torch", run_torch), ("mindspore", run_mindspore)):
        module, weights, _ = written(tmp_path / "m.h5", target, tmp_path)
        close(run(module, weights, [given]), [wanted], 1e-5)
