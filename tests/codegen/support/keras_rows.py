"""Rows of Keras: torch is built by the printed call and compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv.dialects.keras.settings import notes as keras_notes
from tests.codegen.support.rows import (
    BATCH,
    HIDDEN,
    INPUT,
    STEPS,
    Checks,
    assert_equal,
    differ,
    flat,
    values,
)

keras = pytest.importorskip("keras")
layers = keras.layers

CHECKS = Checks()
row = CHECKS.row
X = values(BATCH, STEPS, INPUT, seed=9)
SEQUENCES = {"return_sequences": True}
RECURRENT = (layers.LSTM, layers.GRU, layers.SimpleRNN)


def keras_model(layer):
    model = keras.Sequential([keras.Input((STEPS, INPUT), batch_size=BATCH), layer])
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(-0.4, 0.6, w.shape) for w in model.get_weights()])
    return model


def numpy(value):
    return value.detach().cpu().numpy()


def in_torch(model, folder, name="m.keras", **options):
    """Return the torch module that a saved Keras model became, and its entry in the report."""
    path, target = folder / name, folder / "m.pt"
    (model.save_weights if name.endswith(".weights.h5") else model.save)(path)
    report = ckptconv.convert(path, target, to="torch", force=True, **options)
    path.unlink()
    (entry,) = report.layers
    module = eval(entry.constructor, {"__builtins__": {}}, {"nn": nn})
    state = torch.load(target)
    module.load_state_dict({n.rpartition(".")[2]: v for n, v in state.items()}, strict=True)
    return module.eval(), entry


def outputs(layer, folder, x=X, **options):
    """Return (Keras's output, torch's output and states, the entry) of one layer."""
    model = keras_model(layer)
    module, entry = in_torch(model, folder, **options)
    with torch.no_grad():
        expected = numpy(model(x, training=False))
        found, states = module(torch.from_numpy(x))
    return expected, found.numpy(), list(flat(states)), entry


@row("Keras", "weights, gate order", "units", "reset_after=True")
def _(folder):
    for kind in RECURRENT:
        expected, found, _, entry = outputs(kind(HIDDEN, **SEQUENCES), folder)
        assert_equal([found], [expected])
        assert f"({INPUT}, {HIDDEN}, " in entry.constructor


@row("Keras", "use_bias")
def _(folder):
    for kind in RECURRENT:
        expected, found, _, entry = outputs(kind(HIDDEN, use_bias=False, **SEQUENCES), folder)
        assert_equal([found], [expected])
        assert "bias=False" in entry.constructor


def check_allowed(folder, name, layer):
    """Refused by default; allowed by name it is converted, said, and really different."""
    with pytest.raises(ckptconv.LossyError, match=rf"{name}.*allow=\['{name}'\]"):
        outputs(layer(), folder)
    expected, found, _, entry = outputs(layer(), folder, allow=[name])
    assert differ(expected, found)
    assert any(name in note and "allowed" in note for note in entry.notes)


@row("Keras", "activation")
def _(folder):
    for name in ("relu", "linear"):
        check_allowed(folder, name, lambda n=name: layers.LSTM(HIDDEN, activation=n, **SEQUENCES))
    check_allowed(
        folder, "sigmoid", lambda: layers.SimpleRNN(HIDDEN, activation="sigmoid", **SEQUENCES)
    )
    relu = layers.SimpleRNN(HIDDEN, activation="relu", **SEQUENCES)
    expected, found, _, entry = outputs(relu, folder)
    assert_equal([found], [expected])
    assert "nonlinearity='relu'" in entry.constructor


@row("Keras", "recurrent_activation")
def _(folder):
    for kind in (layers.LSTM, layers.GRU):
        for name in ("hard_sigmoid", "relu", "linear"):
            check_allowed(
                folder, name, lambda k=kind, n=name: k(HIDDEN, recurrent_activation=n, **SEQUENCES)
            )


@row("Keras", "recurrent_activation not recorded")
def _(folder):
    import h5py

    model = keras_model(layers.LSTM(HIDDEN))
    path = folder / "w.h5"
    ckptconv.save(
        ckptconv.from_state_dict(
            {f"m.{n}": v.numpy() for n, v in nn.LSTM(2, 3).state_dict().items()}, "torch"
        ),
        path,
        to="keras",
    )
    for version, said in ((b"2.2.4", True), (b"2.3.1", False)):
        with h5py.File(path, "r+") as file:
            file.attrs["keras_version"] = version
        report = ckptconv.convert(path, folder / "m.pt", to="torch", force=True)
        notes = [*report.notes, *(note for layer in report.layers for note in layer.notes)]
        assert any("hard_sigmoid" in note for note in notes) is said
    expected = numpy(model(X))
    model.layers[0].cell.recurrent_activation = keras.activations.hard_sigmoid
    assert differ(expected, numpy(model.layers[0](X)))


@row("Keras", "unit_forget_bias")
def _(folder):
    layer = layers.LSTM(HIDDEN, unit_forget_bias=False, **SEQUENCES)
    expected, found, _, entry = outputs(layer, folder)
    assert_equal([found], [expected])
    assert not any("forget" in note for note in entry.notes)


@row("Keras", "initializers, regularizers, constraints")
def _(folder):
    settings = {"kernel_initializer": "ones", "bias_regularizer": "l2"}
    layer = layers.LSTM(HIDDEN, recurrent_constraint="non_neg", **settings, **SEQUENCES)
    expected, found, _, _ = outputs(layer, folder)
    assert_equal([found], [expected])


@row("Keras", "implementation, unroll")
def _(folder):
    expected, found, _, entry = outputs(layers.GRU(HIDDEN, unroll=True, **SEQUENCES), folder)
    assert_equal([found], [expected])
    assert not any("unroll" in note for note in entry.notes)
    assert not keras_notes({"units": 1, "implementation": 2, "unroll": True})


@row("Keras", "dropout", "recurrent_dropout")
def _(folder):
    layer = layers.LSTM(HIDDEN, dropout=0.5, recurrent_dropout=0.25, **SEQUENCES)
    expected, found, _, entry = outputs(layer, folder)
    assert_equal([found], [expected])
    assert any(note.startswith("dropout") for note in entry.notes)
    assert any(note.startswith("recurrent_dropout") for note in entry.notes)


@row("Keras", "return_sequences")
def _(folder):
    expected, found, _, entry = outputs(layers.LSTM(HIDDEN), folder)
    assert_equal([found[:, -1]], [expected])
    assert any("last step" in note for note in entry.notes)
    expected, found, _, _ = outputs(layers.Bidirectional(layers.GRU(HIDDEN)), folder)
    last = np.concatenate([found[:, -1, :HIDDEN], found[:, 0, HIDDEN:]], 1)
    assert_equal([last], [expected])


@row("Keras", "return_state", "initial_state")
def _(folder):
    layer = layers.LSTM(HIDDEN, return_state=True, **SEQUENCES)
    entry = keras.Input((STEPS, INPUT))
    model = keras.Model(entry, layer(entry))
    model.set_weights([values(*w.shape, seed=5) * 0.4 for w in model.get_weights()])
    module, _ = in_torch(model, folder)
    h, c = values(2, BATCH, HIDDEN, seed=8)
    expected = layer(X, initial_state=[h, c])
    with torch.no_grad():
        found, states = module(
            torch.from_numpy(X), tuple(torch.from_numpy(s[None]) for s in (h, c))
        )
    assert_equal([found.numpy(), *(s[0].numpy() for s in states)], [numpy(e) for e in expected])


@row("Keras", "stateful")
def _(folder):
    model = keras_model(layers.GRU(HIDDEN, stateful=True, **SEQUENCES))
    module, entry = in_torch(model, folder)
    assert any(note.startswith("stateful") for note in entry.notes)
    first, second = numpy(model(X)), numpy(model(X))
    with torch.no_grad():
        out, state = module(torch.from_numpy(X))
        again, _ = module(torch.from_numpy(X), state)
    assert_equal([out.numpy(), again.numpy()], [first, second])
    assert differ(first, second)


@row("Keras", "time_major")
def _(_):
    assert any("time_major" in note for note in keras_notes({"units": 1, "time_major": True}))


@row("Keras", "go_backwards")
def _(folder):
    layer = layers.LSTM(HIDDEN, go_backwards=True, **SEQUENCES)
    model = keras_model(layer)
    module, entry = in_torch(model, folder)
    assert any("reverse the input along time" in note for note in entry.notes)
    with torch.no_grad():
        flipped = module(torch.from_numpy(X).flip(1))[0].numpy()
        plain = module(torch.from_numpy(X))[0].numpy()
    assert_equal([flipped], [numpy(model(X))])
    assert differ(plain, numpy(model(X)))


@row("Keras", "mask, mask_zero")
def _(folder):
    layer = layers.LSTM(HIDDEN, **SEQUENCES)
    module, _ = in_torch(keras_model(layer), folder)
    lengths = np.array([6, 4, 2])
    mask = np.arange(STEPS)[None] < lengths[:, None]
    expected = numpy(layer(X, mask=keras.ops.convert_to_tensor(mask)))
    packed = nn.utils.rnn.pack_padded_sequence(torch.from_numpy(X), lengths, batch_first=True)
    with torch.no_grad():
        found = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)[0].numpy()
    assert_equal([found[mask]], [expected[mask]])
    with torch.no_grad():
        assert differ(module(torch.from_numpy(X))[0][:, -1], expected[:, -1])
    assert any("mask_zero" in note for note in keras_notes({"mask_zero": True}))


@row("Keras", "zero_output_for_mask")
def _(_):
    assert any("zero" in note for note in keras_notes({"units": 1, "zero_output_for_mask": True}))


@row("Keras", "reset_after=False")
def _(folder):
    model = keras_model(layers.GRU(HIDDEN, reset_after=False, **SEQUENCES))
    with pytest.raises(ckptconv.LossyError, match=r"reset_after=False.*network"):
        in_torch(model, folder)
    other = keras_model(layers.GRU(HIDDEN, reset_after=True, **SEQUENCES))
    kernel, recurrent, bias = model.get_weights()
    other.set_weights([kernel, recurrent, np.stack([bias, np.zeros_like(bias)])])
    assert differ(numpy(model(X)), numpy(other(X)))


@row("Keras", "merge_mode=concat")
def _(folder):
    layer = layers.Bidirectional(layers.LSTM(HIDDEN, **SEQUENCES))
    expected, found, _, _ = outputs(layer, folder)
    assert_equal([found], [expected])


@row("Keras", "merge_mode, others")
def _(folder):
    for mode in ("sum", "mul", "ave"):
        layer = layers.Bidirectional(layers.LSTM(HIDDEN, **SEQUENCES), merge_mode=mode)
        model = keras_model(layer)
        with pytest.raises(ckptconv.LossyError, match=f"merge_mode {mode}"):
            in_torch(model, folder)
        assert model(X).shape[-1] == HIDDEN


@row("Keras", "backward_layer of another kind")
def _(folder):
    backward = layers.GRU(HIDDEN, go_backwards=True, **SEQUENCES)
    layer = layers.Bidirectional(layers.LSTM(HIDDEN, **SEQUENCES), backward_layer=backward)
    with pytest.raises(ckptconv.LossyError, match="different kinds"):
        in_torch(keras_model(layer), folder)


@row("Keras", "epsilon, momentum")
def _(folder):
    model = keras_model(layers.LayerNormalization())
    module, entry = in_torch(model, folder)
    assert "eps=0.001" in entry.constructor
    small = X * np.float32(0.02)
    with torch.no_grad():
        assert_equal([module(torch.from_numpy(small)).numpy()], [numpy(model(small))])
        module.eps = 1e-5
        assert differ(module(torch.from_numpy(small)), numpy(model(small)))
    model = keras_model(layers.BatchNormalization(momentum=0.98))
    assert "momentum=0.02" in in_torch(model, folder)[1].constructor
