"""Each row of the table of options, shown on the real frameworks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.codegen.support import TABLE, Fate
from ckptconv.dialects.keras.settings import notes as keras_notes
from ckptconv.options import ReadOptions, WriteOptions
from ckptconv.report import account
from ckptconv.tensors.tensor import ArrayTensor

mindspore = pytest.importorskip("mindspore")
keras = pytest.importorskip("keras")
layers = keras.layers

INPUT, HIDDEN, STEPS, BATCH = 4, 5, 6, 3
CLOSE = 5e-6
CHECKS = {}


def row(framework, *options):
    def register(function):
        CHECKS.update(((framework, option), function) for option in options)
        return function

    return register


@pytest.mark.parametrize("entry", TABLE, ids=lambda r: f"{r.framework}: {r.option}")
def test_row(entry, tmp_path):
    CHECKS[entry.framework, entry.option](tmp_path)


def test_no_check_is_for_a_row_that_is_gone():
    assert set(CHECKS) == {(entry.framework, entry.option) for entry in TABLE}


def test_every_row_says_what_to_do_or_needs_nothing():
    for entry in TABLE:
        assert entry.action or entry.fate in (Fate.NOTHING, Fate.EXACT)
        assert "|" not in entry.option + entry.action


# -- torch → MindSpore --------------------------------------------------------------------------


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def seeded(module):
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.6 - 0.2)
    return module.eval()


def entry_of(module, target="mindspore", read=None, write=None, **attributes):
    """Return the report's entry of a torch module, and what it became."""
    state = {f"m.{n}": ArrayTensor(v.numpy()) for n, v in module.state_dict().items()}
    known = {"m": Module(type(module).__name__, attributes=attributes)}
    graph = pipeline.lift(Checkpoint("memory", state, known), read or ReadOptions(source="torch"))
    lowered = pipeline.lower(graph, target, write or WriteOptions())
    report = account(graph, lowered, {"path": "", "container": "", "framework": target})
    return report.layers[0], lowered


def in_mindspore(module, **options):
    entry, lowered = entry_of(module, **options)
    cell = eval(entry.constructor, {"__builtins__": {}}, {"nn": mindspore.nn})
    params = {
        name.removeprefix("m."): mindspore.Parameter(mindspore.Tensor(tensor.numpy()))
        for name, tensor in lowered.tensors.items()
    }
    assert mindspore.load_param_into_net(cell, params, strict_load=True) == ([], [])
    return cell.set_train(False), entry


def both(module, *arrays, cell=None, **attributes):
    """Return the outputs of torch and of MindSpore, flat."""
    cell = cell or in_mindspore(module, **attributes)[0]
    with torch.no_grad():
        expected = module(*map_arrays(torch.from_numpy, arrays))
    return list(flat(expected)), list(flat(cell(*map_arrays(mindspore.Tensor, arrays))))


def map_arrays(function, value):
    if isinstance(value, tuple):
        return tuple(map_arrays(function, v) for v in value)
    return function(value)


def flat(value):
    if isinstance(value, tuple | list):
        for part in value:
            yield from flat(part)
    else:
        yield value.numpy() if torch.is_tensor(value) else value.asnumpy()


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=CLOSE)


def differ(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).max()) > 1e-3


@row("torch", "weights, gate order, states", "num_layers", "bidirectional")
def _(_):
    module = seeded(nn.LSTM(INPUT, HIDDEN, 2, bidirectional=True))
    h, c = values(2, 4, BATCH, HIDDEN, seed=2)
    assert_equal(*both(module, values(STEPS, BATCH, INPUT), (h, c)))
    _, entry = in_mindspore(module)
    assert "num_layers=2" in entry.constructor
    assert "bidirectional=True" in entry.constructor


@row("torch", "input_size, hidden_size")
def _(_):
    for kind in ("LSTM", "GRU", "RNN"):
        _, entry = in_mindspore(seeded(getattr(nn, kind)(INPUT, HIDDEN)))
        assert entry.constructor.startswith(f"nn.{kind}({INPUT}, {HIDDEN}")


@row("torch", "bias")
def _(_):
    module = seeded(nn.GRU(INPUT, HIDDEN, bias=False))
    assert "has_bias=False" in in_mindspore(module)[1].constructor
    assert_equal(*both(module, values(STEPS, BATCH, INPUT)))


@row("torch", "batch_first")
def _(_):
    module = seeded(nn.LSTM(INPUT, HIDDEN, batch_first=True))
    x = values(BATCH, STEPS, INPUT)
    assert_equal(*both(module, x, batch_first=True))
    expected, found = both(module, x, batch_first=False)
    assert differ(expected[0], found[0])
    assert any("batch_first" in text for text in in_mindspore(module)[1].unknown)


@row("torch", "dropout")
def _(_):
    module = seeded(nn.LSTM(INPUT, HIDDEN, 2, dropout=0.5))
    assert "dropout=0.5" in in_mindspore(module, dropout=0.5)[1].constructor
    assert "dropout" not in in_mindspore(module, dropout=0)[1].constructor
    with pytest.raises(TypeError, match="float"):
        mindspore.nn.LSTM(INPUT, HIDDEN, 2, dropout=1)
    assert_equal(*both(module, values(STEPS, BATCH, INPUT), dropout=0.5))


@row("torch", "nonlinearity")
def _(_):
    module, x = seeded(nn.RNN(INPUT, HIDDEN, nonlinearity="relu")), values(STEPS, BATCH, INPUT)
    assert_equal(*both(module, x, nonlinearity="relu"))
    expected, found = both(module, x)
    assert differ(expected[0], found[0])
    assert "nonlinearity ('tanh' is assumed)" in in_mindspore(module)[1].unknown


@row("torch", "proj_size")
def _(_):
    module = seeded(nn.LSTM(INPUT, HIDDEN, proj_size=2))
    with pytest.raises(ckptconv.LossyError, match="fold_proj="):
        in_mindspore(module)
    with pytest.raises(TypeError, match="proj_size"):
        mindspore.nn.LSTM(INPUT, HIDDEN, proj_size=2)
    assert any(
        "Dense" in note for note in entry_of(module, write=WriteOptions(fold_proj=True))[0].notes
    )


@row("torch", "hx")
def _(_):
    x, h = (mindspore.Tensor(values(1, BATCH, n)) for n in (INPUT, HIDDEN))
    lstm, entry = in_mindspore(seeded(nn.LSTM(INPUT, HIDDEN)))
    with pytest.raises(TypeError, match="Tuple"):
        lstm(x, [h, h])
    assert "hx is the tuple (h_0, c_0)" in entry.notes
    for kind in ("LSTMCell", "GRUCell", "RNNCell"):
        cell, entry = in_mindspore(seeded(getattr(nn, kind)(INPUT, HIDDEN)))
        with pytest.raises(TypeError, match="hx"):
            cell(x[0])
        assert any("must be given" in note for note in entry.notes)


@row("torch", "unbatched input")
def _(_):
    module = seeded(nn.LSTM(INPUT, HIDDEN))
    lstm, entry = in_mindspore(module)
    with pytest.raises(ValueError, match="3"):
        lstm(mindspore.Tensor(values(STEPS, INPUT)))
    assert any("3-D input alone" in note for note in entry.notes)


@row("torch", "packed sequences")
def _(_):
    module, x = seeded(nn.LSTM(INPUT, HIDDEN, bidirectional=True)), values(STEPS, BATCH, INPUT)
    lengths = [6, 4, 2]
    packed = nn.utils.rnn.pack_padded_sequence(torch.from_numpy(x), lengths)
    with torch.no_grad():
        out, states = module(packed)
    expected = [nn.utils.rnn.pad_packed_sequence(out)[0].numpy(), *flat(states)]
    lstm, entry = in_mindspore(module)
    given = mindspore.Tensor(np.array(lengths, np.int32))
    assert_equal(list(flat(lstm(mindspore.Tensor(x), None, given))), expected)
    assert differ(lstm(mindspore.Tensor(x))[0].asnumpy(), expected[0])
    assert any("seq_length" in note for note in entry.notes)
    assert any("mask" in note for note in entry_of(module, "keras")[0].notes)


@row("torch", "eps, momentum")
def _(_):
    module, x = seeded(nn.LayerNorm(INPUT)), values(BATCH, INPUT) * np.float32(1e-3)
    assert_equal(*both(module, x))
    bare = in_mindspore(module, eps=1e-7)[0]
    expected, found = both(module, x, cell=bare)
    assert differ(expected[0], found[0])
    for target, said in (("mindspore", "momentum=0.9"), ("keras", "momentum=0.9")):
        entry, _ = entry_of(nn.BatchNorm1d(INPUT), target)
        assert said in entry.constructor
        assert "1e-05" in entry.constructor


@row("torch", "padding_mode")
def _(_):
    module = seeded(nn.Conv1d(INPUT, 2, 3, padding=1, padding_mode="circular"))
    cell, entry = in_mindspore(module, padding=1, padding_mode="circular")
    assert any("padding_mode" in note for note in entry.notes)
    assert not in_mindspore(module, padding=1, padding_mode="zeros")[1].notes
    expected, found = both(module, values(BATCH, INPUT, 7), cell=cell)
    assert differ(expected[0], found[0])


@row("torch", "weight_norm, spectral_norm, prune")
def _(_):
    module = seeded(nn.LSTM(INPUT, HIDDEN))
    for name in ("weight_ih_l0", "weight_hh_l0"):
        nn.utils.parametrizations.weight_norm(module, name)
    module.eval()
    read = ReadOptions(source="torch", allow=["weight_norm"])  # a state_dict names no class
    expected, found = both(module, values(STEPS, BATCH, INPUT), read=read)
    assert_equal(found, expected)


@row("torch", "orthogonal parametrization")
def _(_):
    module = nn.utils.parametrizations.orthogonal(nn.Linear(INPUT, INPUT))
    with pytest.raises(ckptconv.LossyError, match="orthogonal"):
        in_mindspore(module)
    (stored,) = (v for n, v in module.state_dict().items() if n.endswith("original"))
    assert differ(stored, module.weight.detach())


@row("torch", "GRU hidden_size on Ascend")
def _(_):
    module = seeded(nn.GRU(INPUT, HIDDEN))
    assert any("Ascend" in note for note in in_mindspore(module)[1].notes)
    with pytest.raises(ckptconv.LossyError, match="multiple of 16"):
        in_mindspore(module, write=WriteOptions(hardware="ascend"))


@row("torch", "float16 on Ascend")
def _(_):
    module = seeded(nn.LSTM(INPUT, HIDDEN))
    with torch.no_grad():
        module.bias_ih_l0[0] = 7e4
    assert np.isinf(np.float16(7e4))
    notes = in_mindspore(module, write=WriteOptions(hardware="ascend"))[1].notes
    assert any("m.bias_ih_l0: 1 values overflow" in note for note in notes)


# -- other ecosystems (their forwards: test_foreign.py) ------------------------------------------


@row("other", "gate order")
def _(_):
    module, x = seeded(nn.LSTM(INPUT, HIDDEN)), values(STEPS, BATCH, INPUT)
    cell, entry = in_mindspore(module, read=ReadOptions(source="torch", gates="onnx"))
    expected, found = both(module, x, cell=cell)
    assert differ(expected[0], found[0])
    assert any("i,o,f,g" in note for note in entry.notes)


@row("other", "run-time forget bias")
def _(_):
    module, x = seeded(nn.LSTM(INPUT, HIDDEN)), values(STEPS, BATCH, INPUT)
    cell, _ = in_mindspore(module, read=ReadOptions(source="torch", forget_bias=1.0))
    with torch.no_grad():
        module.bias_hh_l0[HIDDEN : 2 * HIDDEN] += 1
    assert_equal(*both(module, x, cell=cell))


@row("other", "h' = (1 - z) h + z n")
def _(_):
    module, x = seeded(nn.GRU(INPUT, HIDDEN)), values(STEPS, BATCH, INPUT)
    cell, _ = in_mindspore(module, read=ReadOptions(source="torch", z_convention=True))
    expected, found = both(module, x, cell=cell)
    assert differ(expected[0], found[0])


# -- Keras → torch ------------------------------------------------------------------------------

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


REAL = {
    # file → the activations that its refusal names, in order
    "dl4j__bidirectional_lstm_tensorflow_2.h5": ["hard_sigmoid"],
    "dl4j__lstm_theano_1.h5": ["hard_sigmoid"],
    "dl4j__tfkeras_rnn_101.h5": ["hard_sigmoid"],
    "dl4j__tfkeras_rnn_133.h5": ["relu"],
    "dl4j__tfkeras_rnn_188.h5": ["relu"],
}

NEEDED = {"dl4j__tfkeras_rnn_133.h5": ["relu", "hard_sigmoid"]}


@pytest.mark.parametrize("name", REAL)
def test_real_files_with_other_activations(name, real, tmp_path):
    path, target = real / "keras" / name, tmp_path / "m.ckpt"
    for activation in REAL[name]:
        with pytest.raises(ckptconv.LossyError, match=rf"allow=\['{activation}'\]"):
            ckptconv.convert(path, target, to="mindspore")
    report = ckptconv.convert(path, target, to="mindspore", allow=NEEDED.get(name, REAL[name]))
    notes = [note for layer in report.layers for note in layer.notes]
    for activation in REAL[name]:
        assert any(activation in note and "as allowed" in note for note in notes)
    assert mindspore.load_checkpoint(str(target))
