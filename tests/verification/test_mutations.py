"""Every way to get a conversion wrong, made on purpose: what do diff, verify and replay say?"""

import itertools

import numpy as np
import pytest

import ckptconv
from ckptconv.verification.diff import diff
from ckptconv.verification.golden import golden
from ckptconv.verification.reference.forward import GATES, weights_of
from ckptconv.verification.replay import replay
from ckptconv.verification.verify import verify

torch = pytest.importorskip("torch")
HIDDEN = 5
CHANGED = 1e-4
"""A change of outputs that no tolerance of these layers reaches."""


def network(kind):
    """Three levels, two directions, and an input that makes the first kernel square."""
    torch.manual_seed(11)
    size = len(GATES[kind]) * HIDDEN
    return torch.nn.ModuleDict(
        {"rnn": getattr(torch.nn, kind)(size, HIDDEN, 3, bidirectional=True)}
    )


def gates_swapped(one, other, gates):
    def change(arrays):
        order = list(range(gates))
        order[one], order[other] = other, one
        for name, array in arrays.items():
            blocks = np.split(array, gates)
            arrays[name] = np.concatenate([blocks[i] for i in order])

    return change


def transposed(arrays):
    arrays["rnn.weight_ih_l0"] = np.ascontiguousarray(arrays["rnn.weight_ih_l0"].T)


def recurrent_transposed(arrays):
    array = arrays["rnn.weight_hh_l1"]
    blocks = np.split(array, len(array) // HIDDEN)
    arrays["rnn.weight_hh_l1"] = np.concatenate([block.T for block in blocks])


def biases_doubled(arrays):
    arrays.update({name: 2 * array for name, array in arrays.items() if "bias" in name})


def biases_exchanged(arrays):
    exchange(arrays, "bias_ih", "bias_hh")


def directions_exchanged(arrays):
    for name in [name for name in arrays if not name.endswith("_reverse")]:
        other = f"{name}_reverse"
        arrays[name], arrays[other] = arrays[other], arrays[name]


def layers_exchanged(arrays):
    exchange(arrays, "_l1", "_l2")


def exchange(arrays, one, other):
    for name in [name for name in arrays if one in name]:
        mate = name.replace(one, other)
        arrays[name], arrays[mate] = arrays[mate], arrays[name]


def one_ulp(arrays):
    array = arrays["rnn.weight_hh_l2"]
    array[1, 2] = np.nextafter(array[1, 2], np.float32(9))


def one_bit(bit):
    def change(arrays):
        arrays["rnn.weight_hh_l0"].view(np.uint32)[2, 1] ^= np.uint32(1 << bit)

    return change


def mutations(kind):
    gates = GATES[kind]
    for one, other in itertools.combinations(range(len(gates)), 2):
        yield f"gates {gates[one]} and {gates[other]}", gates_swapped(one, other, len(gates))
    yield "square kernel transposed", transposed
    yield "recurrent kernel transposed", recurrent_transposed
    yield "biases doubled", biases_doubled
    if kind == "GRU":
        yield "b_ih and b_hh exchanged", biases_exchanged
    yield "directions exchanged", directions_exchanged
    yield "layers exchanged", layers_exchanged
    yield "one ULP", one_ulp
    for bit in (0, 12, 22, 30, 31):
        yield f"bit {bit}", one_bit(bit)


def outputs(module, arrays):
    """Return what torch computes, which decides whether a mutation matters."""
    module.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in arrays.items()})
    layer = module["rnn"]
    x = torch.from_numpy(np.random.default_rng(4).uniform(-1, 1, (6, 4, layer.input_size)))
    with torch.no_grad():
        return layer(x.float())[0].numpy()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_mutations(kind, tmp_path, capsys):
    module = network(kind)
    arrays = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    source, good, vectors = (str(tmp_path / name) for name in ("m.pt", "m.ckpt", "v.npz"))
    torch.save(module.state_dict(), source)
    ckptconv.convert(source, good, to="mindspore")
    golden(source, vectors)
    assert diff(source, good).ok
    assert verify(source, good, run=False).ok
    assert replay(source, vectors).ok
    right = outputs(module, arrays)
    tried, caught, mattered = 0, {"diff": 0, "verify": 0, "replay": 0}, 0
    for name, change in mutations(kind):
        wrong = {key: array.copy() for key, array in arrays.items()}
        change(wrong)
        changes = not np.abs(outputs(module, wrong) - right).max() < CHANGED
        graph = ckptconv.from_state_dict(wrong, "torch")
        bad = {
            to: str(tmp_path / f"bad{suffix}")
            for to, suffix in (("torch", ".pt"), ("mindspore", ".ckpt"))
        }
        for to, path in bad.items():
            ckptconv.save(graph, path, to=to, force=True)
        report = verify(source, bad["mindspore"])
        numbers = not all(run.ok for layer in report.layers for run in layer.runs)
        found = {
            "diff": not diff(good, bad["mindspore"]).ok and not diff(source, bad["mindspore"]).ok,
            "verify": not report.ok,
            "replay": not replay(bad["torch"], vectors).ok,
        }
        tried, mattered = tried + 1, mattered + changes
        for means, what in found.items():
            caught[means] += what
        assert found["diff"], name
        assert found["verify"], name
        assert (found["replay"] and numbers) or not changes, name
    with capsys.disabled():
        print(f"\n{kind}: {mattered} of {tried} mutations change outputs; caught:", caught)
    assert mattered >= tried - 4
    assert weights_of(graph.layers[0]).kind == kind
