"""Reparametrized weights: torch computes the effective weight, MindSpore runs it."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import ckptconv
from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.options import ReadOptions, WriteOptions
from ckptconv.report import account
from ckptconv.tensors.tensor import ArrayTensor


def old(function):
    def apply(module, name, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(module, name, **options)

    return apply


weight_norm = old(nn.utils.weight_norm)
spectral_norm = old(nn.utils.spectral_norm)


def pruned(module, name):
    return prune.random_unstructured(module, name, amount=0.4)


def lift(state, classes=None, **options):
    tensors = {
        name: ArrayTensor(value.detach().numpy() if torch.is_tensor(value) else value)
        for name, value in state.items()
    }
    modules = {path: Module(name) for path, name in (classes or {}).items()}
    return pipeline.lift(
        Checkpoint("memory", tensors, modules), ReadOptions(source="torch", **options)
    )


def seeded(module):
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.8)
    return module


def effective(module, name):
    """The weight that the next forward uses: torch's old hooks set it just before."""
    module.eval()
    for hook in module._forward_pre_hooks.values():
        hook(module, None)
    return getattr(module, name).detach().numpy()


CASES = [
    (weight_norm, nn.Linear(4, 6), "weight", {}),
    (weight_norm, nn.Linear(4, 6), "weight", {"dim": 1}),
    (weight_norm, nn.Linear(4, 6), "weight", {"dim": None}),
    (weight_norm, nn.Linear(4, 1), "weight", {}),
    (weight_norm, nn.Conv2d(3, 4, 2), "weight", {}),
    (weight_norm, nn.ConvTranspose1d(3, 4, 2), "weight", {"dim": 1}),
    (weight_norm, nn.LSTM(4, 5), "weight_hh_l0", {}),
    (parametrizations.weight_norm, nn.Linear(4, 6), "weight", {}),
    (parametrizations.weight_norm, nn.Conv1d(3, 4, 2), "weight", {"dim": 2}),
    (parametrizations.weight_norm, nn.GRU(4, 5), "weight_ih_l0", {}),
    (spectral_norm, nn.Linear(4, 6), "weight", {}),
    (spectral_norm, nn.Conv2d(3, 4, 2), "weight", {}),
    (spectral_norm, nn.ConvTranspose2d(3, 4, 2), "weight", {}),
    (spectral_norm, nn.LSTM(4, 5), "weight_hh_l0", {}),
    (parametrizations.spectral_norm, nn.Linear(4, 6), "weight", {}),
    (parametrizations.spectral_norm, nn.Conv1d(3, 4, 2), "weight", {}),
    (parametrizations.spectral_norm, nn.ConvTranspose1d(3, 4, 2), "weight", {}),
    (pruned, nn.Linear(4, 6), "weight", {}),
    (pruned, nn.Linear(40, 6), "bias", {}),
    (pruned, nn.LSTM(4, 5), "weight_hh_l0", {}),
]


ALLOW = frozenset(["weight_norm", "spectral_norm"])


def apply(function, module, name, options, dtype=torch.float32):
    return function(seeded(copy.deepcopy(module)).to(dtype), name, **options)


@pytest.mark.parametrize(("function", "module", "name", "options"), CASES)
def test_the_weight_is_the_one_that_torch_computes(function, module, name, options):
    single = apply(function, module, name, options)
    double = apply(function, module, name, options, torch.float64)
    double.load_state_dict(single.state_dict())
    graph = lift({f"net.m.{n}": v for n, v in single.state_dict().items()}, allow=ALLOW)
    found = ckptconv.to_state_dict(graph, "torch")[f"net.m.{name}"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, effective(double, name), rtol=1.2e-7)
    np.testing.assert_allclose(found, effective(single, name), rtol=1e-6)
    plain = graph["net.m"].params[name]
    region = tuple((n // 2, n) for n in plain.shape)
    np.testing.assert_array_equal(plain.read(region), found[tuple(slice(*r) for r in region)])


@pytest.mark.parametrize(("function", "module", "name", "options"), CASES)
def test_every_part_is_accounted_for(function, module, name, options):
    state = apply(function, module, name, options).state_dict()
    graph = lift({f"m.{n}": v for n, v in state.items()}, allow=ALLOW)
    target = {"path": "", "container": "", "framework": "torch"}
    report = account(graph, pipeline.lower(graph, "torch", WriteOptions()), target)
    (entry,) = [entry for entry in report.tensors if entry.target == f"m.{name}"]
    assert set(entry.sources) == set(graph.origin.tensors) - {t.target for t in report.tensors}
    assert {"weight_norm", "spectral_norm", "pruned"} & set(entry.operations)


def test_one_bit_of_rounding_at_most_where_it_is_a_product():
    module = pruned(seeded(nn.Linear(9, 7)), "weight")
    found = ckptconv.to_state_dict(lift(module.state_dict()), "torch")["weight"]
    np.testing.assert_array_equal(found, module.weight.detach().numpy())


@pytest.mark.parametrize("wrap", [weight_norm, spectral_norm, pruned])
def test_mindspore_computes_the_same(wrap):
    mindspore = pytest.importorskip("mindspore")
    lstm = seeded(nn.LSTM(4, 5))
    for name in ("weight_ih_l0", "weight_hh_l0"):
        wrap(lstm, name)
    lstm.eval()
    x = np.random.default_rng(0).standard_normal((6, 2, 4)).astype(np.float32)
    with torch.no_grad():
        expected = lstm(torch.from_numpy(x))[0].numpy()
    arrays = ckptconv.to_state_dict(lift(lstm.state_dict()), "mindspore")
    cell = mindspore.nn.LSTM(4, 5)
    values = {n: mindspore.Parameter(mindspore.Tensor(a)) for n, a in arrays.items()}
    assert mindspore.load_param_into_net(cell, values, strict_load=True) == ([], [])
    found = cell(mindspore.Tensor(x))[0].asnumpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("nested", ["module.", ""])
@pytest.mark.parametrize("copied", [True, False])
def test_awd_lstm_takes_the_raw_weight(nested, copied):
    lstm = seeded(nn.LSTM(4, 5, 2, bidirectional=True))
    raw = lstm.weight_hh_l0.detach().clone()
    state = {f"rnns.0.{nested}{n}": v for n, v in lstm.state_dict().items()}
    state[f"rnns.0.{nested}weight_hh_l0"] = raw * 2
    if not copied:
        del state[f"rnns.0.{nested}weight_hh_l0"]
    state["rnns.0.weight_hh_l0_raw"] = raw
    graph = lift(state)
    (layer,) = graph.layers
    assert (layer.path, layer.kind) == (f"rnns.0.{nested}".rstrip("."), "LSTM")
    np.testing.assert_array_equal(layer.params["weight_hh_l0"].numpy(), raw.numpy())
    rules = [rule for name, rule in graph.omitted.items() if name.endswith("weight_hh_l0")]
    assert len(rules) == copied
    target = {"path": "", "container": "", "framework": "torch"}
    account(graph, pipeline.lower(graph, "torch", WriteOptions()), target)


def test_awd_lstm_of_salesforce_keeps_it_inside():
    lstm = seeded(nn.LSTM(4, 5))
    state = {f"rnn.module.{n}": v for n, v in lstm.state_dict().items()}
    state["rnn.module.weight_hh_l0_raw"] = state.pop("rnn.module.weight_hh_l0")
    (layer,) = lift(state).layers
    assert (layer.path, layer.kind) == ("rnn.module", "LSTM")


@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal_is_refused(trivial):
    module = parametrizations.orthogonal(nn.Linear(4, 4), use_trivialization=trivial)
    word = "orthogonal" if trivial else "stands in code only"
    with pytest.raises(ckptconv.LossyError, match=rf"weight: .*{word}.*remove_parametrizations"):
        lift(module.state_dict())


def test_a_users_own_parametrization_is_refused():
    module = nn.Linear(4, 4)
    nn.utils.parametrize.register_parametrization(module, "weight", nn.Softplus())
    with pytest.raises(ckptconv.LossyError, match="stands in code only"):
        lift(module.state_dict())


def test_two_parametrizations_of_one_weight_are_refused():
    module = parametrizations.spectral_norm(nn.Linear(4, 4))
    nn.utils.parametrize.register_parametrization(module, "weight", nn.PReLU())
    with pytest.raises(ckptconv.LossyError, match="stands in code only"):
        lift(module.state_dict())
    both = {
        "m.weight": torch.ones(2, 3),
        "m.weight_g": torch.ones(2, 1),
        "m.weight_v": torch.ones(2, 3),
    }
    with pytest.raises(ckptconv.LossyError, match="both plain and in parts"):
        lift(both)


def metadata(module, path="m"):
    return {
        f"{path}.{name}" if name else path: Module(version=entry.get("version"))
        for name, entry in module.state_dict()._metadata.items()
    }


def lift_state(module, **options):
    """Lift a state_dict as a file holds it: with the versions of all modules."""
    tensors = {f"m.{n}": ArrayTensor(v.detach().numpy()) for n, v in module.state_dict().items()}
    checkpoint = Checkpoint("memory", tensors, metadata(module))
    return pipeline.lift(checkpoint, ReadOptions(source="torch", **options))


SQUARE = [
    (nn.Linear(5, 5), {"dim": 0}),
    (nn.Linear(5, 5), {"dim": 1}),
    (nn.Conv2d(4, 4, 2), {"dim": 1}),
    (nn.ConvTranspose1d(4, 4, 2), {}),
    (nn.RNN(5, 5), {"dim": 1}),
]


@pytest.mark.parametrize(("module", "options"), SQUARE, ids=str)
@pytest.mark.parametrize("wrap", [spectral_norm, parametrizations.spectral_norm])
def test_the_axis_of_a_square_spectral_norm(wrap, module, options):
    """A step of training tells it; before one, nothing does but the user."""
    name = next(n for n, p in module.named_parameters() if p.dim() > 1)
    module = wrap(seeded(copy.deepcopy(module)), name, **options)
    assert isinstance(module, nn.Module)
    with pytest.raises(ckptconv.AmbiguousKindError, match=rf"m.{name}: .*which axis.*dim=0"):
        lift_state(_with_random_vectors(copy.deepcopy(module)))
    shape = (2, module.weight.shape[0], 4, 4)[: module.weight.dim()] if name == "weight" else (2, 5)
    x = torch.randn(shape)
    for _ in range(3):
        module.train()(x)
    expected = effective(module, name)
    kind = {"m": type(module).__name__.removeprefix("Parametrized")}
    graph = lift_state(module, kinds=kind)
    np.testing.assert_allclose(graph["m"].params[name].numpy(), expected, rtol=1e-5)


def _with_random_vectors(module):
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.endswith(("_u", "_v")):
                values = torch.arange(1.0, 1 + buffer.numel())
                values = values.flip(0) * torch.sign(values - 2.5) if "_v" in name else values
                buffer.copy_(nn.functional.normalize(values, dim=0))
    return module


def test_the_user_says_the_axis():
    module = _with_random_vectors(spectral_norm(seeded(nn.Linear(5, 5)), "weight", dim=1))
    graph = lift_state(module, allow=["spectral_norm_dim=1"])
    expected = effective(module, "weight")
    np.testing.assert_allclose(graph["m"].params["weight"].numpy(), expected, rtol=1e-5)


class Product(nn.Module):
    """A user's own, into two tensors of the shapes that weight_norm has."""

    def forward(self, scale, weight):
        return scale * weight

    def right_inverse(self, weight):
        return torch.ones(weight.shape[0], 1), weight


def test_a_pair_of_the_users_own_is_not_weight_norm():
    own = nn.Linear(4, 6)
    nn.utils.parametrize.register_parametrization(own, "weight", Product())
    torchs = parametrizations.weight_norm(nn.Linear(4, 6))
    for module in (own, torchs):
        with pytest.raises(ckptconv.AmbiguousKindError, match=r"try allow=\['weight_norm'\]"):
            lift_state(module)
    found = lift_state(torchs, allow=ALLOW)["m"].params["weight"].numpy()
    np.testing.assert_allclose(found, torchs.weight.detach().numpy(), rtol=1e-6)
    named = ckptconv.from_torch(torchs)[""].params["weight"].numpy()  # a live module names it
    np.testing.assert_allclose(named, torchs.weight.detach().numpy(), rtol=1e-6)
    with pytest.raises(ckptconv.LossyError, match=r"stands in code only.*Product"):
        ckptconv.from_torch(own)


@pytest.mark.parametrize("first", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_what_stands_on_another_parametrization_is_refused(first):
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    module = first(nn.Linear(4, 6))
    nn.utils.parametrize.register_parametrization(module, "weight", Doubled())
    with pytest.raises(ckptconv.LossyError, match="several parametrizations on one weight"):
        lift_state(module, allow=ALLOW)


@pytest.mark.parametrize("name", ["weight", "in_proj_weight"])
@pytest.mark.parametrize(("wrap", "part"), [(weight_norm, "_v"), (spectral_norm, "_orig")])
def test_pruning_of_a_part_is_refused(wrap, part, name):
    module = wrap(nn.Linear(4, 6) if name == "weight" else nn.MultiheadAttention(4, 2), name)
    with pytest.raises(ckptconv.LossyError, match=r"several|code only"):
        lift_state(pruned(module, name + part))


def test_names_that_only_look_so_are_left_alone():
    state = {
        "attention.weight_g": np.ones((3, 4), np.float32),
        "attention.weight_v": np.ones((3, 4), np.float32),
        "factors.weight_u": np.ones((3, 1), np.float32),
        "factors.weight_v": np.ones((1, 3), np.float32),
        "x.weight_mask": np.ones(3, np.float32),
        "voice_raw": np.ones(3, np.float32),
    }
    assert list(ckptconv.to_state_dict(lift(state), "torch")) == list(state)


def test_half_precision_is_computed_in_float64():
    v = (np.arange(12, dtype=np.float16).reshape(3, 4) - 5) * np.float16(300)
    g = np.array([[1], [2], [3]], np.float16)
    found = ckptconv.to_state_dict(lift({"m.weight_g": g, "m.weight_v": v}), "torch")["m.weight"]
    wide = v.astype(np.float64)
    expected = (g * wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    np.testing.assert_array_equal(found, expected)


def test_each_weight_of_unsure_norm_is_named():
    layers = {"rnn": nn.LSTM(3, 4), "fc": nn.Linear(4, 2)}
    parametrizations.weight_norm(layers["rnn"], "weight_hh_l0")
    parametrizations.weight_norm(layers["fc"])
    state = nn.ModuleDict(layers).state_dict()
    with pytest.raises(ckptconv.AmbiguousKindError, match=r"\(nor for fc\.weight\)") as refused:
        lift(state)
    assert refused.value.choices == {"rnn.weight_hh_l0": (), "fc.weight": ()}
