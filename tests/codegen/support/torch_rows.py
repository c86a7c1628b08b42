"""Rows of torch and of other ecosystems: MindSpore is built by the printed call and compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.options import ReadOptions, WriteOptions
from ckptconv.report import account
from ckptconv.tensors.tensor import ArrayTensor
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

mindspore = pytest.importorskip("mindspore")

CHECKS = Checks()
row = CHECKS.row


def seeded(module):
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.6 - 0.2)
    return module.eval()


def entry_of(module, target="mindspore", read=None, write=None, **attributes):
    """Return the report's entry of a torch module, and what it became.

    Args:
        read: for a state_dict, which does not say what its layers are.
    """
    state = {f"m.{n}": ArrayTensor(v.numpy()) for n, v in module.state_dict().items()}
    known = {} if read else {"m": Module(type(module).__name__, attributes=attributes)}
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


# -- other ecosystems (their forwards: tests/passes/test_gate_convention.py)


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
