"""What a call of Keras says beside its inputs: masks, arrays, places, and that it trains."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

import ckptconv
from ckptconv.dialects.keras.network.execution import ordered
from ckptconv.errors import CkptconvError
from tests.network.test_features import fill
from tests.network.written import close, flat, run_mindspore, run_torch, written

RUN = {"torch": run_torch, "mindspore": run_mindspore}


@pytest.mark.parametrize("target", RUN)
@pytest.mark.parametrize("count", [1, 2])
def test_masks_of_a_model_inside_are_those_of_its_call(tmp_path, target, count):
    """Also where an attention that runs before has taken them away from the values themselves."""
    import keras

    L = keras.layers  # noqa: N806
    x, z = keras.Input((5, 4), name="x"), keras.Input((5, 4), name="z")
    entries = [keras.Input((5, 4)) for _ in range(count)]
    states = [L.LSTM(3)(entry) for entry in entries]
    inner = keras.Model(entries, sum(states[1:], states[0]))
    steps = L.Masking()(x)
    seen = L.MultiHeadAttention(2, 2)(steps, z)
    outputs = [inner([steps, z][:count]), keras.ops.flip(seen, axis=1)]
    model = keras.Model([x, z], outputs)
    fill(model)
    model.save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=(3, 5, 4)).astype("f4") for name in "xz"}
    given["x"][:, 3:] = 0
    module, weights, names = written(tmp_path / "m.keras", target, tmp_path)
    wanted = [np.asarray(value) for value in flat(model.predict(list(given.values()), verbose=0))]
    close(RUN[target](module, weights, [given[name] for name in names]), wanted, 2e-6)


def edit(folder, member, change):
    """Write ``old.keras``: ``m.keras`` with one of its documents changed."""
    with (
        zipfile.ZipFile(folder / "m.keras") as given,
        zipfile.ZipFile(folder / "old.keras", "w") as made,
    ):
        for name in given.namelist():
            data = given.read(name)
            if name == member:
                change(said := json.loads(data))
                data = json.dumps(said).encode()
            made.writestr(name, data)


@pytest.mark.parametrize("key", ["activation", "recurrent_activation"])
def test_an_activation_that_is_not_recorded_is_not_taken_for_none(tmp_path, key):
    """Without one a layer is linear, and by default it never is."""
    import keras

    layer = keras.layers.ConvLSTM1D(3, 2, name="frames")
    keras.Sequential([keras.Input((2, 5, 4)), layer]).save(tmp_path / "m.keras")
    edit(tmp_path, "config.json", lambda said: said["config"]["layers"][1]["config"].pop(key))
    with pytest.raises(CkptconvError, match="frames: the activation that is not recorded"):
        ckptconv.network(tmp_path / "old.keras")


@pytest.mark.parametrize("key", ["activation", "recurrent_activation"])
def test_an_activation_along_the_channels_is_refused_where_they_come_first(tmp_path, key):
    import keras

    layer = keras.layers.ConvLSTM1D(3, 2, name="frames", **{key: "softmax"})
    keras.Sequential([keras.Input((2, 5, 4)), layer]).save(tmp_path / "m.keras")
    with pytest.raises(CkptconvError, match=f"frames: a ConvLSTM with {key}='softmax'"):
        ckptconv.network(tmp_path / "m.keras")


def _trained(folder, kind):
    import keras

    L = keras.layers  # noqa: N806
    x = keras.Input((5, 4), name="x")
    layer = L.BatchNormalization() if kind == "BatchNormalization" else L.Dropout(0.4)
    model = keras.Model(x, L.LSTM(3)(layer(x, training=True)))
    fill(model)
    model.save(folder / "m.keras")
    return model


@pytest.mark.parametrize("kind", ["BatchNormalization", "Dropout"])
def test_a_call_that_trains_is_noted(tmp_path, kind):
    model = _trained(tmp_path, kind)
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("f4")
    module, weights, _ = written(tmp_path / "m.keras", "torch", tmp_path)
    close(run_torch(module, weights, [x]), [np.asarray(model.predict(x, verbose=0))], 2e-6)
    assert any("in training mode" in note for note in ckptconv.network(tmp_path / "m.keras").notes)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["BatchNormalization", "Dropout"])
def test_weights_alone_say_which_calls_train(tmp_path, kind, suffix):
    model = _trained(tmp_path, kind)
    model.save(tmp_path / f"m{suffix}")
    report = ckptconv.convert(tmp_path / f"m{suffix}", tmp_path / "m.pt", to="torch")
    (note,) = (note for note in report.notes if "training=True" in note)
    assert note.startswith(f"{model.layers[1].name}: called with training=True in the source")
    network = {"network": tmp_path / "net.py", "force": True}
    report = ckptconv.convert(tmp_path / f"m{suffix}", tmp_path / "m.pt", to="torch", **network)
    assert not [note for note in report.notes if "training=True" in note]


@pytest.mark.parametrize(("kind", "refused"), [("BatchNormalization", True), ("Dropout", False)])
def test_before_keras_3_a_call_that_trains_does_so_in_predict(tmp_path, kind, refused):
    _trained(tmp_path, kind)
    edit(tmp_path, "metadata.json", lambda said: said.update(keras_version="2.13.1"))
    if not refused:
        notes = ckptconv.network(tmp_path / "old.keras").notes
        assert any("in training mode" in note for note in notes)
        return
    with pytest.raises(CkptconvError, match=r"training=True, which changes .*stubs=\["):
        ckptconv.network(tmp_path / "old.keras")


@pytest.mark.parametrize("version", ["2.2.2", "2.2.4-tf", "2.3.1"])
def test_states_of_stacked_cells_stood_the_other_way_before_keras_2_3(tmp_path, version):
    import keras

    L = keras.layers  # noqa: N806
    x = keras.Input((5, 4))
    y, *states = L.RNN([L.LSTMCell(3), L.LSTMCell(3)], return_state=True, name="deep")(x)
    model = keras.Model(x, [y, *(s for state in states for s in state)])
    fill(model)
    model.save(tmp_path / "m.keras")
    edit(tmp_path, "metadata.json", lambda said: said.update(keras_version=version))
    if version == "2.2.2":
        with pytest.raises(CkptconvError, match="deep: states of cells one on the other"):
            ckptconv.network(tmp_path / "old.keras")
    else:
        assert len(ckptconv.network(tmp_path / "old.keras").outputs) == 5


def test_steps_that_come_first_are_refused_with_a_mask(tmp_path):
    import keras

    L = keras.layers  # noqa: N806
    keras.Sequential([keras.Input((4, 4)), L.Masking(), L.LSTM(3, name="first")]).save(
        tmp_path / "m.keras"
    )
    edit(
        tmp_path,
        "config.json",
        lambda said: said["config"]["layers"][2]["config"].update(time_major=True),
    )
    with pytest.raises(CkptconvError, match="first: time_major with a mask"):
        ckptconv.network(tmp_path / "old.keras")


ROW = np.linspace(-1, 1, 20, dtype="f4").reshape(1, 5, 4)
SEEN = np.tril(np.ones((1, 5, 5), bool))


@pytest.mark.parametrize("target", RUN)
def test_layers_called_with_arrays_and_by_place(tmp_path, target):
    import keras

    L = keras.layers  # noqa: N806
    x = keras.Input((5, 4), name="x")
    steps = L.Masking()(x)
    mask = keras.ops.greater(x[:, :, 0], 0.2)
    outputs = [
        L.Add()([x, ROW]),
        L.Subtract()([x, ROW]),
        L.Maximum()([x, keras.ops.convert_to_tensor(ROW)]),
        L.MultiHeadAttention(2, 3)(x, steps, attention_mask=SEEN),
        L.GlobalAveragePooling1D()(x, mask),
        L.GRU(3)(steps, L.Dense(3)(x[:, 0])),
        L.GRU(3)(x, None, mask),
        L.Attention()([x, steps], [None, mask]),
    ]
    model = keras.Model(x, outputs)
    fill(model)
    model.save(tmp_path / "m.keras")
    given = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("f4")
    given[:, 3:] = 0
    module, weights, _ = written(tmp_path / "m.keras", target, tmp_path)
    wanted = [np.asarray(value) for value in flat(model.predict(given, verbose=0))]
    close(RUN[target](module, weights, [given]), wanted, 5e-6)


@pytest.mark.parametrize(
    ("call", "reason"),
    {
        "mask": (lambda own, x: own.GRU(3)(x, mask=SEEN[:, 0]), "an array or a number as its mask"),
        "joined": (lambda own, x: own.Concatenate(1)([x, ROW]), "a number among its inputs"),
        "state": (lambda own, x: own.GRU(4)(x, initial_state=ROW[:, 0]), "as its initial_state"),
        "attended": (lambda own, x: own.MultiHeadAttention(2, 3)(x, ROW), "a number as its value"),
        "rank": (lambda own, x: own.Add()([x, ROW[:, 0]]), "an array of another number of axes"),
        "several": (lambda own, x: own.Identity()([x, x])[0], "is called with several values"),
    }.values(),
)
def test_what_a_call_says_and_no_rule_reads_is_refused(tmp_path, call, reason):
    import keras

    x = keras.Input((5, 4))
    keras.Model(x, keras.layers.Dense(2)(call(keras.layers, x))).save(tmp_path / "m.keras")
    with pytest.raises(CkptconvError, match=reason):
        ckptconv.network(tmp_path / "m.keras")


def test_calls_in_any_order_are_ordered_in_linear_time():
    count = 20_000
    parents = {(f"dense_{i}", 0): [(f"dense_{i - 1}", 0)] * bool(i) for i in range(count)}
    backwards = dict(reversed(parents.items()))
    assert ordered(backwards) == ordered(parents) == list(parents)
    with pytest.raises(ValueError, match="takes what is made of it"):
        ordered({("a", 0): [("b", 0)], ("b", 0): [("a", 0)]})
    with pytest.raises(ValueError, match="nothing gives"):
        ordered({("a", 0): [("b", 0)]})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16"])
def test_other_floats_are_told(tmp_path, dtype):
    import keras

    L = keras.layers  # noqa: N806
    taken = keras.Input((4,), name="x", dtype=dtype.removeprefix("mixed_"))
    keras.Model(taken, L.Activation("tanh", dtype=dtype)(L.Dense(2)(taken))).save(
        tmp_path / "m.keras"
    )
    name = dtype.removeprefix("mixed_")
    assert set(ckptconv.network(tmp_path / "m.keras").notes) == {
        f"Keras takes x in {name}, this network in float32.",
        f"Keras computes layers in {name} where this network computes in float32.",
    }


def test_layers_of_whole_numbers_are_refused(tmp_path):
    import keras

    L = keras.layers  # noqa: N806
    cut = L.Rescaling(2.5, dtype="int32", name="cut")
    keras.Sequential([keras.Input((4,)), cut, L.Dense(2)]).save(tmp_path / "m.keras")
    with pytest.raises(CkptconvError, match="cut: computes in int32"):
        ckptconv.network(tmp_path / "m.keras")


@pytest.mark.parametrize("target", RUN)
def test_a_number_for_each_sample_and_tokens_that_are_bools(tmp_path, target):
    import keras

    L = keras.layers  # noqa: N806
    x, seen = keras.Input((), name="x"), keras.Input((5,), dtype="bool", name="seen")
    outputs = [L.Dense(2)(L.Flatten()(L.Rescaling(0.5)(x))), L.GRU(3)(L.Embedding(2, 4)(seen))]
    model = keras.Model([x, seen], outputs)
    fill(model)
    model.save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=3).astype("f4"), "seen": rng.normal(size=(3, 5)) > 0}
    module, weights, names = written(tmp_path / "m.keras", target, tmp_path)
    wanted = [np.asarray(value) for value in flat(model.predict(list(given.values()), verbose=0))]
    close(RUN[target](module, weights, [given[name] for name in names]), wanted, 5e-6)
