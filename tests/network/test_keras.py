"""Networks of Keras files, held against the outputs of the Keras that wrote them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ckptconv
from tests.conftest import ROOT
from tests.differential.keras_models import save
from tests.network import features_operations
from tests.network.test_features import fill
from tests.network.written import close, imported, run_mindspore, run_torch, written

GOLDEN = ROOT / "tests" / "golden" / "keras"


def golden():
    """Return the files that record their network: all but Theano's of Keras 1 and Lambda's."""
    files = [p for p in sorted(GOLDEN.glob("*.json")) if not p.name.endswith(".weights.json")]
    entries = [json.loads(path.read_text()) | {"stem": path.stem} for path in files]
    return [
        pytest.param(e, id=e["stem"])
        for e in entries
        if (e["stem"].endswith("_full") or e["file"].endswith(".keras"))
        and e["stem"] != "keras122_conv2d_full"
    ]


@pytest.mark.parametrize("entry", golden())
def test_golden_in_torch(entry, tmp_path):
    if "lambda" in entry["stem"]:
        with pytest.raises(ckptconv.LossyError, match="twice: Lambda cannot be written"):
            written(GOLDEN / entry["file"], "torch", tmp_path)
        assert not list(tmp_path.iterdir())
        return
    module, weights, _ = written(GOLDEN / entry["file"], "torch", tmp_path)
    with np.load(GOLDEN / f"{entry['stem']}.npz") as data:
        close(run_torch(module, weights, [data["x"]]), [data["y"]], 2e-6)


def test_the_report_asks_for_nothing_that_the_network_does(tmp_path):
    options = {"to": "mindspore", "allow": ["hard_sigmoid"]}
    source = GOLDEN / "keras216_default_full.h5"
    alone = ckptconv.convert(source, tmp_path / "alone.ckpt", **options)
    assert any("activation" in note for layer in alone.layers for note in layer.notes)
    report = ckptconv.convert(
        source, tmp_path / "m.ckpt", to="mindspore", network=tmp_path / "net.py"
    )
    assert not any(layer.notes or layer.constructor or layer.unknown for layer in report.layers)


@pytest.mark.parametrize("target", ["torch", "mindspore"])
def test_strides_with_same_over_a_length_that_is_not_recorded(tmp_path, target):
    """What is padded depends on the length, as in DeepSpeech 2: even and odd ones."""
    import keras

    layers = keras.layers
    x = keras.Input((None, 6), name="x")
    y = layers.Reshape((-1, 6, 1))(x)
    y = layers.Conv2D(3, (5, 4), strides=2, padding="same", use_bias=False)(y)
    y = layers.DepthwiseConv2D((4, 2), strides=(3, 3), padding="same")(y)
    y = layers.LSTM(4)(layers.Reshape((-1, 3))(y))
    z = layers.SimpleRNN(3)(layers.Conv1D(4, 3, strides=2, padding="same")(x))
    model = keras.Model(x, [y, z])
    fill(model)
    model.save(tmp_path / "m.keras")
    module, weights, _ = written(tmp_path / "m.keras", target, tmp_path)
    run = run_torch if target == "torch" else run_mindspore
    for steps in (12, 13, 15):
        given = np.random.RandomState(steps).uniform(-1, 1, (2, steps, 6)).astype(np.float32)
        wanted = [value.detach().numpy() for value in model(given)]
        close(run(module, weights, [given]), wanted, 2e-6)


def test_an_operation_that_no_rule_covers_is_refused_by_name(tmp_path):
    import keras

    for name, (change, words) in features_operations.refused(keras).items():
        x = keras.Input((5, 4))
        path = tmp_path / f"{name}.keras"
        keras.Model(x, change(keras.layers.Dense(3)(x))).save(path)
        with pytest.raises(ckptconv.LossyError, match=words):
            written(path, "torch", tmp_path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_dictionaries_are_in_the_order_of_their_keys(suffix, tmp_path):
    """Of a whole model, and of one in it, whose results are counted so."""
    import keras

    entries = {"z": keras.Input((4,), name="first"), "y": keras.Input((2,), name="second")}
    results = {"b": keras.layers.Dense(3)(entries["z"]), "a": keras.layers.Dense(3)(entries["y"])}
    inner = keras.Model(list(entries.values()), results)
    given = inner(list(entries.values()))
    model = keras.Model(entries, {"d": given["a"], "c": keras.layers.Dense(2)(given["b"])})
    model.save(tmp_path / f"m{suffix}")
    module, weights, names = written(tmp_path / f"m{suffix}", "torch", tmp_path)
    assert names == ["second", "first"]
    assert "in order: c, d." in module.__doc__
    arrays = [np.random.default_rng(n).normal(size=(2, n)).astype("f4") for n in (2, 4)]
    wanted = model({"y": arrays[0], "z": arrays[1]})
    close(run_torch(module, weights, arrays), [wanted[k].detach().numpy() for k in "cd"], 2e-6)
    report = ckptconv.verify(
        tmp_path / f"m{suffix}", weights, run=True, network=weights.with_suffix(".py")
    )
    assert report.ok


def test_an_input_of_bools(tmp_path):
    import keras

    x, mask = keras.Input((6, 3), name="x"), keras.Input((6,), dtype="bool", name="mask")
    keras.Model([x, mask], keras.layers.LSTM(4)(x, mask=mask)).save(tmp_path / "m.keras")
    model = keras.models.load_model(tmp_path / "m.keras")
    arrays = [np.random.default_rng(0).normal(size=(2, 6, 3)).astype("f4"), np.ones((2, 6), bool)]
    arrays[1][1, 4:] = False
    for target, run in (("torch", run_torch), ("mindspore", run_mindspore)):
        module, weights, _ = written(tmp_path / "m.keras", target, tmp_path)
        assert "mask: bool" in module.__doc__
        close(run(module, weights, arrays), [model(arrays).detach().numpy()], 2e-5)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_inputs_that_nothing_takes_and_that_are_results(suffix, tmp_path):
    import keras

    entries = [keras.Input((n,), name=f"of_{n}") for n in (4, 2, 3)]
    results = [keras.layers.Dense(2, name="dense")(entries[0]), entries[2]]
    model = keras.Model(entries, results)
    model.save(tmp_path / f"m{suffix}")
    module, weights, names = written(tmp_path / f"m{suffix}", "torch", tmp_path)
    assert names == ["of_4", "of_2", "of_3"]
    given = [np.random.default_rng(n).normal(size=(2, n)).astype("f4") for n in (4, 2, 3)]
    wanted = [np.asarray(value.detach()) for value in model(given)]
    close(run_torch(module, weights, given), wanted, 2e-6)


def test_a_layer_whose_settings_are_few_is_no_operation(tmp_path):
    """In ``.h5`` an operation names no module; SpatialDropout1D does not say trainable."""
    import keras

    x = keras.Input((5, 4))
    y = keras.layers.SpatialDropout1D(0.2)(keras.layers.Dense(3)(x))
    model = keras.Model(x, keras.layers.LayerNormalization(axis=2)(y))
    model.save(tmp_path / "m.h5")
    module, weights, _ = written(tmp_path / "m.h5", "torch", tmp_path)
    given = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("f4")
    close(run_torch(module, weights, [given]), [np.asarray(model(given).detach())], 2e-6)
    report = ckptconv.convert(tmp_path / "m.h5", tmp_path / "plain.pt", to="torch")
    assert not any("axis" in unknown for layer in report.layers for unknown in layer.unknown)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["functional", "Sequential"])
def test_a_nested_model_that_is_called_again(kind, suffix, tmp_path):
    """Keras 3 numbers its calls from 1 where the whole model ends, and from 0 between layers."""
    import keras

    x, layer = keras.Input((4,)), keras.layers.Dense(4, activation="tanh")
    inner = keras.Model(x, layer(x)) if kind == "functional" else keras.Sequential([x, layer])
    inner(x)  # a call that the model does not need
    first = inner(x)
    second = inner(first)
    head = keras.layers.Dense(3)(second)
    model = keras.Model(x, [head, first, keras.layers.Dense(2)(first), inner(second), second])
    fill(model)
    model.save(tmp_path / f"m{suffix}")
    given = np.arange(8, dtype=np.float32).reshape(2, 4) / 8
    module, weights, _ = written(tmp_path / f"m{suffix}", "torch", tmp_path)
    close(run_torch(module, weights, [given]), model.predict(given, verbose=0), 1e-6)


def test_a_stub_inside_a_wrapper_is_given_its_weights(tmp_path):
    import keras

    inner = keras.layers.Dense(2, activation="tanh", name="inner")
    model = keras.Sequential([keras.Input((3, 4)), keras.layers.TimeDistributed(inner)])
    model.save(tmp_path / "m.keras")
    _, weights, _ = written(tmp_path / "m.keras", "torch", tmp_path, stubs=["inner"])
    text = weights.with_suffix(".py")
    body = text.read_text().replace(
        'raise NotImplementedError("inner")', "return torch.tanh(x @ y + z)"
    )
    text.write_text(body)
    given = np.linspace(-1, 1, 24, dtype="f4").reshape(2, 3, 4)
    found = run_torch(imported(text), weights, [given])
    close(found, [np.asarray(model(given).detach())], 1e-6)


@pytest.mark.parametrize("target", ["torch", "mindspore"])
def test_a_stub_is_given_the_weights_of_its_layer(tmp_path, target):
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Normalization(name="norm")])
    mean, variance = np.array([0.5, -1.0, 2.0], "f4"), np.array([0.25, 4.0, 9.0], "f4")
    for weight, values in zip(model.layers[0].weights, (mean, variance, 7), strict=True):
        weight.assign(values)
    model.layers[0].finalize_state()
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        module, weights, _ = written(tmp_path / name, target, tmp_path, stubs=["norm"])
        text = weights.with_suffix(".py")
        body = text.read_text().replace(
            'raise NotImplementedError("norm")', "return (x - y) / z**0.5"
        )
        text.write_text(body)
        given = np.array([[1.0, 2.0, -3.0], [0.0, 4.0, 5.0]], "f4")
        module = imported(text)
        found = {"torch": run_torch, "mindspore": run_mindspore}[target](module, weights, [given])
        close(found, [np.asarray(model(given).detach())], 1e-6)


@pytest.mark.parametrize("target", ["torch", "mindspore"])
@pytest.mark.parametrize("first", ["Embedding", "Masking"])
@pytest.mark.parametrize("way", ["keras 2 h5", "h5"])
def test_what_an_inner_layer_masks_in_keras_2(way, first, target, tmp_path):
    """There a TimeDistributed gives the mask on; Keras 3 does so inside of one model alone."""
    import keras

    layers = keras.layers
    given = np.array([[[1, 0, 2, 0], [0, 0, 0, 0], [3, 4, 0, 0]], [[5, 6, 0, 1], [0] * 4, [2] * 4]])
    entry, layer = {
        "Embedding": (keras.Input((4,), dtype="int32"), layers.Embedding(9, 3, mask_zero=True)),
        "Masking": (keras.Input((4, 1)), layers.Masking()),
    }[first]
    characters, words, head = layers.LSTM(5), layers.GRU(4), layers.Dense(2)
    tokens = keras.Input((3, *entry.shape[1:]), dtype=entry.dtype)
    parts = layers.TimeDistributed(layer)(tokens)
    x = layers.TimeDistributed(characters)(parts)
    model = keras.Model(tokens, head(words(x)))
    fill(model)
    whole = layers.TimeDistributed(keras.Model(entry, characters(layer(entry))))(tokens)
    array = given.astype("i4") if first == "Embedding" else given[..., None].astype("f4")
    seen = (given != 0).any(-1)
    x = np.asarray(keras.Model(tokens, whole)(array).detach())
    wanted = head(words(x, mask=seen)) if way != "h5" else model(array)
    module, weights, _ = written(save.save(model, way, tmp_path), target, tmp_path)
    found = {"torch": run_torch, "mindspore": run_mindspore}[target](module, weights, [array])
    close(found, [np.asarray(wanted.detach())], 2e-5)


@pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Minimum", "MultiHeadAttention"])
def test_what_depends_on_a_version_that_nothing_names_is_asked(kind, tmp_path):
    """``to_json`` of Keras 3 names no version, and neither does ``.weights.h5``."""
    import keras

    layers = keras.layers
    tokens, x = keras.Input((5,), dtype="int32"), keras.Input((5, 4))
    words = layers.Embedding(9, 4, mask_zero=True)(tokens)
    heads = kind == "MultiHeadAttention"
    made = (
        layers.MultiHeadAttention(2, 3)(words, x) if heads else getattr(layers, kind)()([words, x])
    )
    model = keras.Model([tokens, x], [made, layers.GRU(3)(words)])
    fill(model)
    path, beside = tmp_path / "m.weights.h5", tmp_path / "m.json"
    model.save_weights(path)
    beside.write_text(model.to_json())
    with pytest.raises(ckptconv.LossyError, match=f"a {kind} of masked values") as refused:
        written(path, "torch", tmp_path, config=beside)
    assert '"keras_version"' in refused.value.hint
    named = json.loads(model.to_json()) | {"keras_version": keras.__version__}
    beside.write_text(json.dumps(named))
    module, weights, _ = written(path, "torch", tmp_path, config=beside)
    rng = np.random.default_rng(0)
    given = [np.array([[0, 1, 0, 2, 3], [4, 5, 6, 0, 0]], "i4"), rng.normal(size=(2, 5, 4))]
    given[1] = given[1].astype("f4")
    wanted = [np.asarray(value.detach()) for value in model(given)]
    close(run_torch(module, weights, given), wanted, 2e-6)


@pytest.mark.parametrize("kind", ["DepthwiseConv1D", "SeparableConv1D"])
@pytest.mark.parametrize("multiplier", ["2", 0, True])
def test_a_depth_multiplier_that_is_no_size_is_refused(kind, multiplier, tmp_path):
    """Taken for 1, it would give all that follows other sizes than the weights have."""
    import keras

    sizes = (4, 2) if kind == "SeparableConv1D" else (2,)
    layer = getattr(keras.layers, kind)(*sizes, depth_multiplier=2, name="conv")
    model = keras.Sequential([keras.Input((6, 3)), layer])
    model.save(tmp_path / "m.h5")
    document = json.loads(model.to_json())
    document["config"]["layers"][-1]["config"]["depth_multiplier"] = multiplier
    (tmp_path / "c.json").write_text(json.dumps(document))
    options = {"to": "torch", "network": tmp_path / "net.py", "config": tmp_path / "c.json"}
    with pytest.raises(ckptconv.DialectError, match=r"conv: depth_multiplier is no "):
        ckptconv.convert(tmp_path / "m.h5", tmp_path / "m.pt", **options)
