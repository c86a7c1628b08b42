"""What torch's layers become in Keras where its layer is told by more than their weights."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

import ckptconv

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")


def inside(**layers):
    """Return a state_dict of layers below an attribute, as most networks have them."""
    outer = torch.nn.Module()
    outer.enc = torch.nn.ModuleDict(layers)
    with torch.no_grad():
        for i, value in enumerate(outer.parameters()):
            value.copy_(torch.linspace(-0.4, 0.5 + i, value.numel()).reshape(value.shape))
    return outer.eval()


def converted(network, tmp_path, name="m.h5", **options):
    torch.save(network.state_dict(), tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / name, to="keras", **options)
    return tmp_path / name, report


def test_names_that_every_backend_takes(tmp_path):
    network = inside(fc=torch.nn.Linear(3, 4))
    path, _ = converted(network, tmp_path)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="enc_fc")])
    model.load_weights(path, by_name=True)
    x = np.linspace(-1, 1, 6, dtype="f4").reshape(2, 3)
    expected = network.enc["fc"](torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)
    assert ckptconv.verify(tmp_path / "m.pt", path, run=True).ok


def test_a_group_that_is_called_as_another_class(tmp_path):
    network = inside(embedding=torch.nn.Linear(3, 4), dense=torch.nn.BatchNorm1d(4))
    network = network.enc
    path, _ = converted(network, tmp_path, kinds={"dense": "BatchNorm1d"})
    embedding, dense = ckptconv.load(path)
    assert (embedding.kind, dense.kind) == ("Linear", "BatchNorm1d")


@pytest.mark.parametrize(
    "make", [lambda: torch.nn.Linear(3, 4), lambda: torch.nn.LSTM(3, 4, 2)], ids=["Linear", "LSTM"]
)
@pytest.mark.parametrize("file", ["m.h5", "m.weights.h5"])
@pytest.mark.parametrize("first", ["enc.fc", "enc_fc"])
def test_two_layers_of_one_name(tmp_path, make, first, file):
    """The advice makes them two."""
    network = inside(fc=make())
    network.enc_fc = make()
    if first == "enc_fc":
        network = torch.nn.ModuleDict({"enc_fc": network.enc_fc, "enc": network.enc})
    with pytest.raises(ckptconv.CkptconvError, match=r"enc_fc.*two layers would get") as caught:
        converted(network, tmp_path, file)
    (rule,) = re.findall(r"rename=({.*?})", str(caught.value))
    rename = ast.literal_eval(rule)
    path, _ = converted(network, tmp_path, file, rename=rename)
    assert ckptconv.verify(tmp_path / "m.pt", path, run=True, rename=rename).ok


@pytest.mark.parametrize(("slopes", "shared"), [(4, [1]), (1, [1, 2]), (4, [1, 2])])
def test_slopes_have_the_rank_of_their_input(tmp_path, slopes, shared):
    network = inside(act=torch.nn.PReLU(slopes))
    kind = f"PReLU(shared_axes={shared})"
    path, report = converted(network, tmp_path, "m.weights.h5", kinds={"enc.act": kind})
    (entry,) = report.layers
    assert entry.constructor == f"layers.PReLU(shared_axes={shared})"
    channels_apart = slopes > 1
    shape = (3, 4) if len(shared) + channels_apart == 2 else (5, 3, 4)
    layer = keras.layers.PReLU(shared_axes=shared)
    model = keras.Sequential([keras.Input(shape), layer])
    model.load_weights(path)
    x = np.linspace(-1, 1, 2 * np.prod(shape), dtype="f4").reshape(2, *shape)
    first = torch.from_numpy(x).movedim(-1, 1)
    expected = network.enc["act"](first).movedim(1, -1).detach().numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)


def test_slopes_of_an_input_that_nothing_tells(tmp_path):
    with pytest.raises(ckptconv.CkptconvError, match=r"PReLU\(shared_axes=\[1, 2\]\)"):
        converted(inside(act=torch.nn.PReLU(4)), tmp_path, kinds={"enc.act": "PReLU"})


def test_statistics_of_every_batch_have_no_equal(tmp_path):
    norm = torch.nn.BatchNorm1d(4, track_running_stats=False)
    with pytest.raises(ckptconv.LossyError, match="moving_mean, which this layer takes from every"):
        converted(inside(norm=norm), tmp_path, kinds={"enc.norm": "BatchNorm1d"})


def test_the_order_of_attention_is_told(tmp_path):
    network = inside(attn=torch.nn.MultiheadAttention(4, 2, batch_first=True))
    kinds = {"enc.attn": "MultiheadAttention(num_heads=2)"}
    _, report = converted(network, tmp_path, kinds=kinds)
    assert any("(query, value, key)" in note for note in report.layers[0].notes)


@pytest.mark.parametrize("options", [{}, {"fold_proj": True}])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_is_computed_of_weights_is_rounded_to_the_dtype_asked_for_alone(
    tmp_path, dtype, options
):
    """Two biases become their sum, and a projection a product, in float32 of narrower weights."""
    network = inside(rnn=torch.nn.LSTM(3, 6, batch_first=True, proj_size=2 if options else 0))
    converted(network.to(dtype), tmp_path, dtype="float32", **options)
    rnn = network.enc["rnn"].float()
    x = torch.linspace(-1, 1, 30).reshape(2, 5, 3)
    made = [keras.layers.LSTM(6, return_sequences=True, name="enc_rnn")]
    made += [keras.layers.Dense(2, use_bias=False, name="enc_rnn_proj")] * bool(options)
    model = keras.Sequential([keras.Input((5, 3)), *made])
    model.load_weights(tmp_path / "m.h5", by_name=True)
    expected = rnn(x)[0].detach().numpy()
    np.testing.assert_allclose(model.predict(x.numpy(), verbose=0), expected, atol=2e-6)
    proof = ckptconv.verify(tmp_path / "m.pt", tmp_path / "m.h5", run=True)
    assert proof.ok, proof.failures


def test_the_order_of_a_file_that_sorts_its_names(tmp_path):
    from safetensors.torch import save_file

    network = torch.nn.Module()
    network.steps = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(11)))
    network.b, network.a = torch.nn.Linear(3, 3), torch.nn.Linear(3, 4)
    with torch.no_grad():
        for value in network.parameters():
            value.uniform_(-1, 1, generator=torch.Generator().manual_seed(value.data_ptr() % 99))
    save_file(network.state_dict(), tmp_path / "m.safetensors")
    torch.save(network.state_dict(), tmp_path / "m.pt")
    for name in ("m.h5", "m.weights.h5"):
        report = ckptconv.convert(tmp_path / "m.safetensors", tmp_path / name, to="keras")
        ordered = [f"steps.{n}" for n in range(11)]
        assert [layer.path for layer in report.layers] == ["a", "b", *ordered]
        (note,) = report.notes
        assert note.startswith("b, steps.0, steps.1, ")
        assert "does not tell their order" in note
        model = keras.Sequential([keras.Input((3,))])
        for path in [*ordered, "b", "a"]:
            model.add(keras.layers.Dense(4 if path == "a" else 3, name=path.replace(".", "_")))
        target = tmp_path / f"like{name[1:]}"
        model.save(target) if name == "m.h5" else model.save_weights(target)
        like = {"like": target, "force": True}
        report = ckptconv.convert(tmp_path / "m.safetensors", tmp_path / name, to="keras", **like)
        assert all(note.startswith("like: ") for note in report.notes)
        model.load_weights(tmp_path / name)
        for layer in model.layers:
            expected = network.get_submodule(layer.name.replace("_", ".")).weight
            np.testing.assert_array_equal(layer.get_weights()[0].T, expected.detach().numpy())


def test_a_norm_without_statistics_is_no_batchnorm_whatever_its_name(tmp_path):
    network = torch.nn.ModuleDict({"fc": torch.nn.Linear(3, 4), "bn": torch.nn.LayerNorm(4)})
    path, _ = converted(network, tmp_path, kinds={"bn": "LayerNorm"})
    assert [layer.kind for layer in ckptconv.load(path)] == ["Linear", "LayerNorm"]
    with pytest.raises(
        ckptconv.DialectError, match=r"not the weights of a BatchNorm1d.*moving_mean"
    ):
        ckptconv.load(path, kinds={"bn": "BatchNorm1d"})


def test_statistics_are_not_made_up_for_what_may_be_another_norm(tmp_path):
    network = torch.nn.ModuleDict({"bn": torch.nn.LayerNorm(4)})
    torch.save(network.state_dict(), tmp_path / "m.pt")
    kinds = {"bn": "LayerNorm"}
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mint", kinds=kinds)
    with pytest.raises(ckptconv.AmbiguousKindError, match="'bn': 'LayerNorm'"):
        ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "m.h5", to="keras")
    report = ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "m.h5", to="keras", kinds=kinds)
    assert [tensor.target for tensor in report.tensors] == ["bn/bn/gamma:0", "bn/bn/beta:0"]


def test_a_number_of_many_digits_is_a_name(tmp_path):
    from safetensors.torch import save_file

    path, kinds = "9" * 5000, {"*": "Linear"}
    layer = {f"{path}.weight": torch.ones(3, 2), f"{path}.bias": torch.ones(3)}
    save_file(layer, tmp_path / "m.safetensors")
    made = ckptconv.convert(tmp_path / "m.safetensors", tmp_path / "m.h5", to="keras", kinds=kinds)
    assert [layer.path for layer in made.layers] == [path]
