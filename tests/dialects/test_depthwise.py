"""Depthwise convolutions: a layer of Keras's, a group for each channel in torch and MindSpore."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ckptconv

mindspore = pytest.importorskip("mindspore")
keras = pytest.importorskip("keras")

CHANNELS, MULTIPLIER = 3, 2
CASES = [
    # rank, options of Keras's layer
    (1, {}),
    (1, {"strides": 2, "use_bias": False}),
    (2, {"strides": 2}),
    (2, {"dilation_rate": 2, "depth_multiplier": 1}),
    (2, {"kernel_size": (3, 2), "use_bias": False}),
]


def keras_model(rank, options):
    options = {"kernel_size": 3, "depth_multiplier": MULTIPLIER, **options}
    layer = getattr(keras.layers, f"DepthwiseConv{rank}D")(name="mix", **options)
    model = keras.Sequential([keras.Input((9,) * rank + (CHANNELS,)), layer])
    rng = np.random.default_rng(7)
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.get_weights()])
    return model


def channels_last_input(rank):
    return np.random.default_rng(8).standard_normal((2, *[9] * rank, CHANNELS)).astype(np.float32)


def moved(array):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def run_keras(model, given):
    return moved(np.asarray(model(given, training=False).detach()))


def build(report, **names):
    (layer,) = report.layers
    return eval(layer.constructor, {"__builtins__": {}}, names)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(("rank", "options"), CASES)
def test_from_keras(rank, options, suffix, tmp_path):
    model, given = keras_model(rank, options), channels_last_input(rank)
    model.save(tmp_path / f"m{suffix}")
    expected = run_keras(model, given)

    report = ckptconv.convert(tmp_path / f"m{suffix}", tmp_path / "m.pt", to="torch")
    net = torch.nn.ModuleDict({"mix": build(report, nn=torch.nn)})
    net.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True), strict=True)
    with torch.no_grad():
        found = net["mix"](torch.from_numpy(moved(given))).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)

    report = ckptconv.convert(tmp_path / f"m{suffix}", tmp_path / "m.ckpt", to="mindspore")
    cells = mindspore.nn.CellDict({"mix": build(report, nn=mindspore.nn)})
    loaded = mindspore.load_checkpoint(str(tmp_path / "m.ckpt"))
    assert mindspore.load_param_into_net(cells, loaded, strict_load=True) == ([], [])
    found = cells["mix"](mindspore.Tensor(moved(given))).asnumpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)


class Wrapped(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.mix = layer


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
@pytest.mark.parametrize("source", ["torch", "mindspore"])
@pytest.mark.parametrize(
    ("rank", "options"), [(1, {"stride": 2}), (2, {"bias": False}), (2, {"padding": (1, 2)})]
)
def test_to_keras_where_the_groups_are_known(rank, options, source, suffix, tmp_path):
    torch.manual_seed(9)
    layer = getattr(torch.nn, f"Conv{rank}d")(3, 6, 3, groups=3, **options)
    torch.save(
        Wrapped(layer) if source == "torch" else Wrapped(layer).state_dict(), tmp_path / "m.pt"
    )
    said = ", ".join(
        f"{k}={v}" for k, v in {"groups": 3, "padding": 0, **options}.items() if k != "bias"
    )
    kinds = {"mix": f"DepthwiseConv{rank}d({said})"}
    path = tmp_path / "m.pt"
    if source == "mindspore":  # whose files record no groups
        ckptconv.convert(path, path := tmp_path / "m.ckpt", to="mindspore", kinds=kinds)
    target = tmp_path / f"k{suffix}"
    report = ckptconv.convert(path, target, to="keras", kinds=kinds if source != "torch" else None)
    assert "DepthwiseConv" in report.layers[0].constructor
    built = build(report, layers=keras.layers)
    built = built if isinstance(built, list) else [built]
    given = channels_last_input(rank)
    model = keras.Sequential([keras.Input(given.shape[1:]), *built])
    model.load_weights(target)
    with torch.no_grad():
        expected = layer(torch.from_numpy(moved(given))).numpy()
    np.testing.assert_allclose(run_keras(model, given), expected, atol=2e-6)


def test_without_groups_a_torch_file_holds_an_ordinary_convolution(tmp_path):
    layer = torch.nn.Conv2d(3, 6, 3, groups=3)
    torch.save(Wrapped(layer).state_dict(), tmp_path / "m.pt")
    assert ckptconv.load(tmp_path / "m.pt")["mix"].kind == "Conv2d"


def test_one_channel_is_no_depthwise_convolution(tmp_path):
    torch.save(Wrapped(torch.nn.Conv2d(1, 6, 3)), tmp_path / "m.pt")
    assert ckptconv.load(tmp_path / "m.pt")["mix"].kind == "Conv2d"


def test_layer_normalization_without_scale_has_ones(tmp_path):
    layer = keras.layers.LayerNormalization(scale=False, name="norm")
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.set_weights([np.arange(4.0)])
    model.save(tmp_path / "m.keras")
    state = ckptconv.to_state_dict(ckptconv.load(tmp_path / "m.keras"), "torch")
    np.testing.assert_array_equal(state["norm.weight"], np.ones(4))
