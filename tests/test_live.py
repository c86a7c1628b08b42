"""Live networks: filled all or not at all, whatever wraps them; read with their classes known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import ckptconv
from tests import networks as n

ms = pytest.importorskip("mindspore")
from mindspore import mint  # noqa: E402
from mindspore import nn as msnn  # noqa: E402


def network(seed=3):
    return n.fill(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4)), seed)


X = torch.linspace(-1, 1, 12).reshape(3, 4)


def old_weight_norm(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(model[0], dim=1)
    return model


def new_weight_norm(model):
    parametrizations.weight_norm(model[0])
    return model


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, torch.compile, old_weight_norm, new_weight_norm, lambda model: model],
    ids=["DataParallel", "compiled", "old weight_norm", "weight_norm", "plain"],
)
def test_wrapped_modules_are_filled(wrap):
    source, plain = network(), network(seed=9)
    target = wrap(plain)
    assert ckptconv.load_into(target, ckptconv.from_torch(source)).written
    with torch.no_grad():
        n.close(plain.eval()(X).numpy(), source(X).numpy(), limit=1e-6)
    again = ckptconv.to_state_dict(ckptconv.from_torch(target), "torch")
    n.close(again["0.weight"], source[0].weight.detach().numpy(), limit=1e-6)


def test_a_parametrization_that_takes_no_value_is_refused():
    target = network()
    parametrizations.spectral_norm(target[0])
    with pytest.raises(ckptconv.CkptconvError, match=r"0\.weight: cannot be filled through"):
        ckptconv.load_into(target, ckptconv.from_torch(network()))


def test_a_dtype_that_loses_values_is_refused_and_nothing_changes():
    target = network(seed=9).half()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    graph = ckptconv.from_torch(network())
    with pytest.raises(ckptconv.CkptconvError, match="of another dtype"):
        ckptconv.load_into(target, graph)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
    ckptconv.load_into(target, graph, dtype="float16")
    assert torch.equal(target[0].weight, network()[0].weight.half())
    wide = network(seed=9).double()
    ckptconv.load_into(wide, graph, dtype="float64")
    assert torch.equal(wide[2].bias, network()[2].bias.double())


class Breaks(nn.Module):
    """Its second parameter refuses to be written in the middle of a copy."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 5)


@pytest.mark.parametrize("where", ["torch", "mindspore"])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(where, monkeypatch):
    source = n.fill(Breaks(), 4)
    if where == "torch":
        target = n.fill(Breaks(), 5)
        before = {name: value.clone().numpy() for name, value in target.state_dict().items()}
        real = torch.Tensor.copy_
        calls = []

        def copy(self, other, *rest):
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("no memory")
            return real(self, other, *rest)

        monkeypatch.setattr(torch.Tensor, "copy_", copy)
        after = lambda: {k: v.numpy() for k, v in target.state_dict().items()}  # noqa: E731
    else:
        target = msnn.CellDict({"first": msnn.Dense(4, 4), "second": msnn.Dense(4, 5)})
        before = {p.name: p.asnumpy().copy() for p in target.get_parameters()}
        real_set = ms.Parameter.set_data
        calls = []

        def set_data(self, *rest):
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("no memory")
            return real_set(self, *rest)

        monkeypatch.setattr(ms.Parameter, "set_data", set_data)
        after = lambda: {p.name: p.asnumpy() for p in target.get_parameters()}  # noqa: E731
    with pytest.raises(RuntimeError, match="no memory"):
        ckptconv.load_into(target, ckptconv.from_torch(source))
    assert {k: v.tobytes() for k, v in after().items()} == {
        k: v.tobytes() for k, v in before.items()
    }


def test_mint_and_nn_cells():
    source = n.fill(nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5)))
    for cells in (
        [mint.nn.Linear(4, 5), mint.nn.LayerNorm(5)],
        [msnn.Dense(4, 5), msnn.LayerNorm((5,), epsilon=1e-5)],
    ):
        target = msnn.SequentialCell(*cells)
        ckptconv.load_into(target, ckptconv.from_torch(source))
        held = [p.asnumpy() for p in target.get_parameters()]
        for found, expected in zip(held, source.parameters(), strict=True):
            np.testing.assert_array_equal(found, expected.detach().numpy())
    with torch.no_grad():
        n.close(target(ms.Tensor(X.numpy())).asnumpy(), source(X).numpy(), limit=1e-6)
    half = msnn.SequentialCell(msnn.Dense(4, 5).to_float(ms.float16), msnn.LayerNorm((5,)))
    half[0].weight.set_dtype(ms.float16)
    with pytest.raises(ckptconv.CkptconvError, match="of another dtype"):
        ckptconv.load_into(half, ckptconv.from_torch(source))


def tied():
    model = nn.Module()
    model.embed, model.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    model.head.weight = model.embed.weight
    return n.fill(model)


def test_tied_weights():
    source, target = tied(), tied()
    with torch.no_grad():
        target.embed.weight.zero_()
    once = ckptconv.from_state_dict(
        {"embed.weight": source.embed.weight.detach().numpy()},
        "torch",
        modules={"embed": "Embedding"},
    )
    for graph in (ckptconv.from_torch(source), once):
        ckptconv.load_into(target, graph)
        assert torch.equal(target.head.weight, source.embed.weight)


class Extra(nn.Linear):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


def test_modules_that_are_not_read():
    graph = ckptconv.from_torch(nn.Sequential(Extra(2, 3)))
    assert graph.omitted == {
        "0._extra_state": "extra state, which only the module's own code reads"
    }
    with pytest.raises(ckptconv.DialectError, match=r"0\.weight: of a lazy module"):
        ckptconv.from_torch(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ckptconv.DialectError, match="weight: on the meta device"):
        ckptconv.from_torch(nn.Linear(2, 3, device="meta"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(network(), {nn.Linear})
    with pytest.raises(ckptconv.DialectError, match="is quantized or no tensor; try convert"):
        ckptconv.from_torch(quantized)


def test_the_networks_own_attribute_is_kept():
    model = nn.Module()
    model.model = nn.Module()
    model.model.lstm = nn.LSTM(3, 4)
    assert [layer.path for layer in ckptconv.from_torch(model)] == ["model.lstm"]
    assert [layer.path for layer in ckptconv.from_torch(nn.DataParallel(model))] == ["model.lstm"]
    found = ckptconv.to_state_dict(ckptconv.from_torch(model), "torch")
    np.testing.assert_array_equal(
        found["model.lstm.weight_hh_l0"], model.model.lstm.weight_hh_l0.detach().numpy()
    )


class Own(torch.nn.Linear):
    """Computes x W, not x Wᵀ."""

    def forward(self, x):
        return x @ self.weight


def test_a_user_s_class_is_told_under_a_parametrization_too():
    module = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(Own(3, 3)))
    for made in (module, torch.nn.Sequential(Own(3, 3))):
        (layer,) = ckptconv.from_torch(made)
        assert any("Own" in note for note in layer.notes)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "bfloat16"])
def test_narrow_dtypes_go_from_network_to_network(dtype):
    def held(values):
        module = nn.Module()
        module.register_buffer("w", values.to(getattr(torch, dtype)))
        return module

    source, target = held(torch.arange(12.0).reshape(3, 4)), held(torch.zeros(3, 4))
    graph = ckptconv.from_torch(source)
    assert ckptconv.load_into(target, graph).written
    assert torch.equal(target.w.float(), source.w.float())
    if dtype == "bfloat16":
        cell = msnn.Cell()
        cell.w = ms.Parameter(ms.Tensor(np.zeros((3, 4), "f4"), ms.bfloat16), name="w")
        assert ckptconv.load_into(cell, graph).written
        assert np.array_equal(cell.w.astype(ms.float32).asnumpy(), source.w.float().numpy())


def two(cls=nn.Linear, size=4, seed=3):
    model = nn.Module()
    model.first, model.second = cls(size, size), cls(size, size)
    return n.fill(model, seed)


def copied_state(model):
    def copies(_module, state, *_):
        state.update({name: value.clone() for name, value in state.items()})

    model._register_state_dict_hook(copies)


def overlapping(model):
    memory = torch.zeros(6, 4)
    model.first.weight = nn.Parameter(memory[:4])
    model.second.weight = nn.Parameter(memory[2:])


def one_tensor(model):
    model.second.weight = model.first.weight


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize("spoil", [copied_state, overlapping, one_tensor])
def test_a_network_that_would_hold_other_values_is_refused(spoil, dtype):
    source, target = two(), two(seed=9)
    spoil(target)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(ckptconv.CkptconvError, match=r"does not hold what|has one tensor for two"):
        ckptconv.load_into(target, ckptconv.from_torch(source), dtype=dtype)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_untied_tensors_of_equal_values_fill_a_tied_network():
    source, target = two(), two(seed=9)
    one_tensor(target)
    with torch.no_grad():
        source.second.weight.copy_(source.first.weight)
    ckptconv.load_into(target, ckptconv.from_torch(source))
    assert torch.equal(target.second.weight, source.first.weight)


@pytest.mark.parametrize("dtype", [None, "float16"])
@pytest.mark.parametrize("wrap", [old_weight_norm, new_weight_norm])
def test_rows_of_zeros_pass_through_weight_norm(wrap, dtype):
    source, plain = network(), network(seed=9)
    with torch.no_grad():
        source[0].weight[2], source[0].weight[:, 1] = 0, 0
    target = wrap(plain)
    ckptconv.load_into(target, ckptconv.from_torch(source), dtype=dtype)
    source = source.half().float() if dtype else source
    with torch.no_grad():
        n.close(target(X).numpy(), source(X).numpy(), limit=1e-6)


def test_wrapped_networks_are_matched_by_their_calls():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.later, self.sooner = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.later(self.sooner(x))

    source = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for wrapped in (nn.DataParallel(source), torch.compile(source)):
        plan = ckptconv.match(wrapped, Chain(), inputs=(X.numpy(),))
        assert plan.pairs() == {"0": "sooner", "1": "later"}


def test_options_of_reading_are_refused_for_a_graph():
    graph = ckptconv.from_torch(network())
    for call in (
        lambda: ckptconv.match(graph, network(), rename={"^0$": "first"}),
        lambda: ckptconv.load_into(network(), graph, kinds={"0": "Linear"}),
    ):
        with pytest.raises(ckptconv.UsageError, match="a graph that was read already"):
            call()


def test_statistics_of_every_batch_do_not_become_stored_ones():
    source = n.fill(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)))
    x = torch.linspace(-1, 2, 48).reshape(1, 3, 4, 4)
    stored, anew = (msnn.SequentialCell(msnn.BatchNorm2d(3, 1e-5, use_batch_statistics=by))
                    for by in (None, True))  # fmt: skip
    with pytest.raises(ckptconv.DialectError, match=r"0: the source's layer takes its statistics"):
        ckptconv.load_into(stored, ckptconv.from_torch(source))
    ckptconv.load_into(anew, ckptconv.from_torch(source))
    n.close(anew(ms.Tensor(x.numpy())).asnumpy(), source(x).detach().numpy(), limit=1e-5)


def test_two_parameters_of_one_name_are_refused():
    cells = msnn.CellDict({"a": msnn.Dense(4, 4), "b": msnn.Dense(4, 4)})
    for cell in cells.values():
        cell.weight.name, cell.bias.name = "a.weight", "a.bias"
    assert list(cells.parameters_dict()) == ["a.weight", "a.bias"]
    graph = ckptconv.from_torch(nn.ModuleDict({"a": nn.Linear(4, 4)}))
    with pytest.raises(ckptconv.CkptconvError, match=r"a\.weight: two parameters of the network"):
        ckptconv.load_into(cells, graph)


def _torch_layers(**more):
    rnn = {"nonlinearity": "relu", "batch_first": True, "bidirectional": True}
    layers = {
        "embed": nn.Embedding(7, 4, padding_idx=more.get("padding_idx", 1)),
        "rnn": nn.RNN(4, 5, **{**rnn, **{k: more[k] for k in more if k in rnn}}),
        "lstm": nn.LSTM(10, 6, num_layers=2, batch_first=True, dropout=more.get("dropout", 0.1)),
        "norm": nn.LayerNorm(3, eps=more.get("eps", 1e-3)),
        "conv": nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=more.get("dilation", 1)),
        "line": nn.Conv1d(3, 5, 3, padding="same"),
    }
    return nn.ModuleDict(layers)


def test_settings_that_a_network_has_otherwise_are_named():
    source = n.fill(_torch_layers())
    other = {"padding_idx": None, "nonlinearity": "tanh", "eps": 1e-5, "dilation": 2}
    report = ckptconv.load_into(_torch_layers(**other, dropout=0.3), ckptconv.from_torch(source))
    assert report.notes == [
        "embed: padding_idx is 1 in the source; the network's is None",
        "rnn: nonlinearity is 'relu' in the source; the network's is 'tanh'",
        "norm: eps is 0.001 in the source; the network's is 1e-05",
        "conv: dilation is (1, 1) in the source; the network's is (2, 2)",
    ]
    assert ckptconv.load_into(_torch_layers(), ckptconv.from_torch(source)).notes == []


@pytest.mark.parametrize("stride", [2, 1])
def test_settings_of_cells_are_held_against_those_of_modules(stride):
    source = n.fill(_torch_layers())
    cells = msnn.CellDict({
        "embed": msnn.Embedding(7, 4, padding_idx=1),
        "rnn": msnn.RNN(4, 5, nonlinearity="relu", batch_first=True, bidirectional=True),
        "lstm": msnn.LSTM(10, 6, num_layers=2, batch_first=True),
        "norm": msnn.LayerNorm([3], epsilon=1e-3),
        "conv": msnn.Conv2d(3, 4, 3, stride, pad_mode="pad", padding=1, has_bias=True),
        "line": msnn.Conv1d(3, 5, 3, pad_mode="same", has_bias=True),
    })  # fmt: skip
    notes = ckptconv.load_into(cells, ckptconv.from_torch(source)).notes
    told = "conv: stride is (2, 2) in the source; the network's is (1, 1)"
    assert notes == ([told] if stride == 1 else [])


_CELLS = {
    # what differs: torch's module, cells of MindSpore's that have it so and otherwise
    "eps of LayerNorm": (lambda: nn.LayerNorm(4, eps=1e-3), lambda eps: [
        msnn.LayerNorm([4], epsilon=eps), mint.nn.LayerNorm([4], eps)], 1e-3, 1e-5),
    "eps of BatchNorm": (lambda: nn.BatchNorm2d(4, eps=1e-3), lambda eps: [
        msnn.BatchNorm2d(4, eps), mint.nn.BatchNorm2d(4, eps)], 1e-3, 1e-5),
    "eps of BatchNorm3d": (lambda: nn.BatchNorm3d(4, eps=1e-3), lambda eps: [
        msnn.BatchNorm3d(4, eps)], 1e-3, 1e-5),
    "eps of GroupNorm": (lambda: nn.GroupNorm(2, 4, eps=1e-3), lambda eps: [
        msnn.GroupNorm(2, 4, eps), mint.nn.GroupNorm(2, 4, eps)], 1e-3, 1e-5),
    "num_groups": (lambda: nn.GroupNorm(2, 4), lambda n: [
        msnn.GroupNorm(n, 4), mint.nn.GroupNorm(n, 4)], 2, 4),
    "nonlinearity": (lambda: nn.RNN(4, 4, nonlinearity="relu"), lambda said: [
        msnn.RNN(4, 4, nonlinearity=said)], "relu", "tanh"),
    "nonlinearity of a cell": (lambda: nn.RNNCell(4, 4, nonlinearity="relu"), lambda said: [
        msnn.RNNCell(4, 4, nonlinearity=said)], "relu", "tanh"),
    "batch_first": (lambda: nn.GRU(4, 4, batch_first=True), lambda said: [
        msnn.GRU(4, 4, batch_first=said)], True, False),
    "num_heads": (lambda: nn.MultiheadAttention(4, 2), lambda n: [
        msnn.MultiheadAttention(4, n)], 2, 4),
    "stride of 1-D": (lambda: nn.Conv1d(4, 4, 3, 2), lambda n: [
        msnn.Conv1d(4, 4, 3, n, pad_mode="valid", has_bias=True),
        mint.nn.Conv1d(4, 4, 3, n)], 2, 1),
    "dilation": (lambda: nn.Conv2d(4, 4, 3, dilation=2), lambda n: [
        msnn.Conv2d(4, 4, 3, pad_mode="valid", dilation=n, has_bias=True),
        mint.nn.Conv2d(4, 4, 3, dilation=n)], 2, 3),
    "padding": (lambda: nn.Conv2d(4, 4, 3, padding=1), lambda n: [
        msnn.Conv2d(4, 4, 3, pad_mode="pad", padding=n, has_bias=True),
        msnn.Conv2d(4, 4, 3, pad_mode="same" if n else "valid", has_bias=True),
        mint.nn.Conv2d(4, 4, 3, padding=n)], 1, 0),
    "padding of each side": (lambda: nn.Conv2d(4, 4, 3, padding=(1, 2)), lambda sides: [
        msnn.Conv2d(4, 4, 3, pad_mode="pad", padding=sides, has_bias=True)],
        (1, 1, 2, 2), (2, 2, 1, 1)),
    "padding with strides": (lambda: nn.Conv2d(4, 4, 3, 2, padding=1), lambda mode: [
        msnn.Conv2d(4, 4, 3, 2, pad_mode=mode, padding=int(mode == "pad"), has_bias=True)],
        "pad", "same"),
    "padding of 1-D": (lambda: nn.Conv1d(4, 4, 3, padding=1), lambda n: [
        msnn.Conv1d(4, 4, 3, pad_mode="pad", padding=n, has_bias=True)], 1, 2),
    "padding transposed": (lambda: nn.ConvTranspose2d(4, 4, 3, 2, padding=1), lambda n: [
        msnn.Conv2dTranspose(4, 4, 3, 2, pad_mode="pad", padding=n, has_bias=True)], 1, 0),
    "activation": (lambda: nn.Linear(4, 4), lambda said: [
        msnn.Dense(4, 4, activation=said)], None, "relu"),
}  # fmt: skip


def test_settings_of_cells_have_the_names_of_modules():
    """Every setting of every cell that inference knows: told where it differs, and there alone."""
    for name, (module, cells, same, other) in _CELLS.items():
        source = ckptconv.from_torch(n.fill(nn.ModuleDict({"layer": module()})))
        for said in (same, other):
            for cell in cells(said):
                notes = ckptconv.load_into(msnn.CellDict({"layer": cell}), source).notes
                told = [note.split()[1] for note in notes if note.startswith("layer: ")]
                word = "the" if name == "activation" else name.split()[0]
                assert told == ([word] if said == other else []), (name, said, cell, notes)


def test_the_class_of_a_live_layer_tells_what_a_lone_w_is():
    cells = msnn.CellDict({"slopes": msnn.PReLU(5)})
    target = nn.ModuleDict({"slopes": nn.PReLU(5)})
    plan = ckptconv.match(cells, target, kinds={"slopes": "PReLU"})
    assert plan.pairs() == ckptconv.match(cells, target).pairs() == {"slopes": "slopes"}
