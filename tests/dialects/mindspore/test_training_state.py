"""Training checkpoints of every optimizer that runs on CPU; names alone never drop a weight."""

from __future__ import annotations

import numpy as np
import pytest

import ckptconv

ms = pytest.importorskip("mindspore")
from mindspore import mint, nn  # noqa: E402
from mindspore.experimental import optim as experimental  # noqa: E402

from ckptconv.dialects.mindspore.training_state import training_state  # noqa: E402
from ckptconv.tensors.declared import Declared  # noqa: E402
from tests.differential.mindspore_models.save import OPTIMIZERS as EVERY  # noqa: E402
from tests.differential.mindspore_models.save import Averaged, Reversed, Trainer  # noqa: E402


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.fc = nn.Dense(3, 4)
        self.bn = nn.BatchNorm1d(4)

    def construct(self, x):
        return self.bn(self.fc(x))


NAMES = {"fc.weight", "fc.bias"} | {
    f"bn.{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")
}
OPTIMIZERS = [
    *EVERY,
    (nn.Adam, {"learning_rate": [0.1, 0.2]}),
    (nn.AdaFactor, {"beta1": 0.0}),
    (mint.optim.AdamW, {"amsgrad": True}),
    (experimental.Rprop, {}),
]
CASES = pytest.mark.parametrize(
    ("make", "options"), OPTIMIZERS, ids=[f"{m.__name__}-{m.__module__}-{o}" for m, o in OPTIMIZERS]
)


class Last(nn.Cell):
    """The network's name is sorted after the optimizer's, as it then stands in safetensors."""

    def __init__(self, network, optimizer):
        super().__init__()
        self.optimizer = optimizer
        self.trained = network


class Inside(nn.Cell):
    """A network that holds another as ``net``, trained by an optimizer beside it."""

    def __init__(self, make, options):
        super().__init__()
        self.net = Net()
        self.opt = make(self.net.trainable_params(), **options)


def kept(cell, path, form="ckpt", **more):
    """Save a Cell; return the names that conversion keeps, and the report."""
    source = path / f"t.{form}"
    ms.save_checkpoint(cell, str(source), format=form, **more)
    report = ckptconv.convert(
        source, path / "n.ckpt", source="mindspore", to="mindspore", force=True
    )
    loaded = ms.load_checkpoint(str(path / "n.ckpt"))
    saved = ms.load_checkpoint(str(source), format=form)
    for entry in report.tensors:
        source = saved[entry.sources[0]]
        np.testing.assert_array_equal(loaded[entry.target].asnumpy(), source.asnumpy())
    return set(loaded), report


@CASES
def test_every_way_of_wrapping(tmp_path, make, options):
    network = Net()
    cell = nn.CellList([make(network.trainable_params(), **options)], auto_prefix=False)
    cell.append(network)
    names, report = kept(cell, tmp_path, append_dict={"epoch_num": 4})
    assert names == NAMES
    assert all(rule.startswith("training state: ") for rule in report.omitted.values())
    for wrapper, form in ((Trainer, "ckpt"), (Reversed, "ckpt"), (Last, "safetensors")):
        network = Net()
        names, report = kept(
            wrapper(network, make(network.trainable_params(), **options)), tmp_path, form
        )
        assert names == NAMES
        assert any("was taken off names" in note for note in report.notes)
    assert kept(Inside(make, options), tmp_path)[0] == {f"net.{name}" for name in NAMES}


COUNT = 20_000
COUNTER, MATRIX = Declared((1,), "int32"), Declared((2, 2))
PLACES = [f"s{i}" for i in range(COUNT)]
TRAINED = [("", "w"), ("moments.", "w"), ("", "b")]
MANY = {
    "counters": {
        f"{s}.{leaf}": t for s in PLACES for leaf, t in (("global_step", COUNTER), ("w", MATRIX))
    },
    "slots": {"global_step": COUNTER, "learning_rate": Declared(())}
    | {f"{s}.w": MATRIX for s in PLACES},
    "untrained": {"net.global_step": COUNTER, "other": MATRIX}
    | {f"net.{slot}{s}.{leaf}": MATRIX for slot, leaf in TRAINED for s in PLACES},
}


@pytest.mark.parametrize("name", MANY)
def test_many_names_take_no_more_time_for_each(name):
    """Where each was held against all others, these took from minutes to half an hour."""
    omitted = training_state(MANY[name]).omitted
    assert len(omitted) in (0, COUNT + 1)
    assert [*omitted] == [name for name in MANY[name] if name in omitted]


def test_parameter_groups_and_loss_scaling(tmp_path):
    network = Net()
    first, *rest = network.trainable_params()
    groups = [
        {"params": [first], "lr": [0.1, 0.2], "weight_decay": 0.1},
        {"params": rest, "lr": 0.3},
    ]
    optimizer = nn.LARS(nn.Momentum(groups, 0.1, 0.9))
    scale = nn.DynamicLossScaleUpdateCell(2**12, 2, 1000)
    loss = nn.WithLossCell(network, nn.MSELoss())
    step = nn.TrainOneStepWithLossScaleCell(loss, optimizer, scale_sense=scale)
    assert kept(step, tmp_path)[0] == NAMES


@pytest.mark.parametrize("inner", [nn.Momentum, nn.SGD, nn.ASGD])
@pytest.mark.parametrize("wrapper", [Trainer, Reversed])
def test_lars_inside_a_cell(tmp_path, wrapper, inner):
    network = Net()
    first, *rest = network.trainable_params()
    groups = [{"params": [first], "lr": 0.2}, {"params": rest}]
    options = {} if inner is nn.ASGD else {"momentum": 0.9}
    optimizer = nn.LARS(inner(groups, learning_rate=0.1, **options))
    names, report = kept(wrapper(network, optimizer), tmp_path)
    assert names == NAMES
    assert any("was taken off names" in note for note in report.notes)


def test_two_optimizers(tmp_path):
    class Gan(nn.Cell):
        def __init__(self):
            super().__init__()
            self.g, self.d = Net(), Net()
            self.og = nn.Adam(self.g.trainable_params())
            self.od = nn.Momentum(self.d.trainable_params(), 0.1, 0.9)

    assert kept(Gan(), tmp_path)[0] == {f"{part}.{name}" for part in "gd" for name in NAMES}


class Misleading(nn.Cell):
    """Real parameters that are called as optimizers call theirs."""

    def __init__(self):
        super().__init__()
        for name in ("weight", "momentum", "weight_decay", "global_step"):
            shape = (4, 3) if name == "weight" else ()
            setattr(self, name, ms.Parameter(ms.Tensor(np.ones(shape, "f4")), name=name))
        self.linear = nn.Dense(3, 4)
        self.moments = nn.Dense(3, 4)


MISLEADING = {"weight", "momentum", "weight_decay", "global_step"} | {
    f"{path}.{leaf}" for path in ("linear", "moments") for leaf in ("weight", "bias")
}


def test_names_alone_drop_nothing(tmp_path):
    names, report = kept(Misleading(), tmp_path)
    assert names == MISLEADING
    assert not report.omitted


@pytest.mark.parametrize("make", [nn.Adam, nn.Adagrad, nn.Lamb])
def test_trained_parameters_of_misleading_names(tmp_path, make):
    network = Misleading()
    network.global_step.name = "steps"
    optimizer = make(network.trainable_params(), learning_rate=0.1)
    cell = nn.CellList([optimizer], auto_prefix=False)
    assert kept(cell, tmp_path)[0] == MISLEADING - {"global_step"} | {"steps"}


def test_a_layer_called_as_another_optimizers_state(tmp_path):
    class Counting(nn.Cell):
        def __init__(self):
            super().__init__()
            self.accum = nn.Dense(3, 4)

    network = Counting()
    optimizer = mint.optim.SGD(network.trainable_params(), lr=0.1, momentum=0.9)
    names, _ = kept(Trainer(network, optimizer), tmp_path)
    assert names == {"accum.weight", "accum.bias"}


def test_an_optimizer_that_nobody_knows(tmp_path):
    class Own(nn.Optimizer):
        def __init__(self, parameters):
            super().__init__(0.1, parameters)
            self.memory = self._parameters.clone(prefix="my_memory", init="zeros")

    class Plain(nn.Cell):
        def __init__(self):
            super().__init__()
            self.fc, self.gru = nn.Dense(3, 4), nn.GRU(4, 5)

    network = Plain()
    names, report = kept(Own(network.trainable_params()), tmp_path)
    assert names == {parameter.name for parameter in network.get_parameters()}
    assert report.omitted["my_memory.fc.bias"] == (
        "training state: an unknown optimizer mirrors fc.bias"
    )


def test_what_is_not_proven_stays_and_is_told(tmp_path):
    names, report = kept(Net(), tmp_path, append_dict={"epoch_num": 4})
    assert names == NAMES | {"epoch_num"}
    assert any(note.startswith("epoch_num: kept") for note in report.notes)
    network = Net()
    names, report = kept(experimental.Adadelta(network.trainable_params()), tmp_path)
    assert {"accum.fc.weight", "accum_update.fc.weight"} < names
    assert any("there is no step counter: kept" in note for note in report.notes)


def test_an_average_beside_the_network_stays_and_tears_no_layer_apart(tmp_path):
    """Statistics stand under another prefix than what was trained, and the average has none."""
    network = Net()
    names, report = kept(Averaged(network, nn.Adam(network.trainable_params())), tmp_path)
    average = {name for name in names if name.startswith("ema.")}
    assert names - average == NAMES
    assert len(average) == len(network.trainable_params())
    assert next(layer.kind for layer in report.layers if layer.path == "bn") == "BatchNorm1d"
    (note,) = (note for note in report.notes if "as their average would" in note)
    assert "drop=['ema'] leaves them out" in note


@pytest.mark.parametrize("make", [nn.Adam, None])
def test_copies_beside_a_network_of_its_own_names_are_told(tmp_path, make):
    """As TrainOneStepCell leaves them: sums of gradients, an average, and no prefix at all."""
    network = Net()
    parameters = ms.ParameterTuple(network.trainable_params())
    cell = nn.CellList([make(parameters)] if make else [], auto_prefix=False)
    cell.append(network)
    cell.grads = parameters.clone("accu_grads", init="zeros")
    cell.average = ms.ParameterTuple(network.get_parameters()).clone("ema", init="same")
    report = kept(cell, tmp_path)[1]
    notes = [note for note in report.notes if "as their average would" in note]
    told = ["4 parameters under 'accu_grads.'", "6 parameters under 'ema.'"]
    assert [note.partition(" have")[0] for note in notes] == told
    again = ckptconv.convert(
        tmp_path / "t.ckpt",
        tmp_path / "n.pt",
        to="torch",
        drop=["accu_grads", "ema"],
        kinds={"bn": "BatchNorm1d"},
    )
    assert {source for entry in again.tensors for source in entry.sources} == NAMES


def test_parts_of_a_network_are_no_copies(tmp_path):
    class Twins(nn.Cell):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = Net(), Net()
            self.fc = nn.Dense(3, 4)
            self.block = nn.CellDict({"fc": nn.Dense(3, 4), "own": nn.Dense(3, 5)})

    report = kept(Twins(), tmp_path)[1]
    assert not [note for note in report.notes if "average" in note]


class Scaled(Net):
    """A network with a number of its own."""

    def __init__(self):
        super().__init__()
        self.temperature = ms.Parameter(ms.Tensor(0.5, ms.float32), name="temperature")


@pytest.mark.parametrize("trained", [False, True])
def test_numbers_beside_a_network_are_told_with_the_way_to_leave_them_out(tmp_path, trained):
    """``append_dict`` writes what it is given as the network's parameters stand there."""
    cell = net = Scaled()
    if trained:
        cell = nn.TrainOneStepCell(
            nn.WithLossCell(net, nn.MSELoss()), nn.Adam(net.trainable_params())
        )
    source = tmp_path / "m.ckpt"
    ms.save_checkpoint(cell, str(source), append_dict={"loss": 0.2, "lr": 0.1})
    options = {"to": "torch", "kinds": {"bn": "BatchNorm1d"}}
    report = ckptconv.convert(source, tmp_path / "m.pt", **options)
    (note,) = (note for note in report.notes if "append_dict" in note)
    numbers = ["loss", "lr"] if trained else ["temperature", "loss", "lr"]
    assert note.startswith(f"{', '.join(numbers)}: kept, ")
    assert f"drop={numbers!r} leaves them out" in note
    report = ckptconv.convert(
        source, tmp_path / "n.pt", drop=[n for n in numbers if n != "temperature"], **options
    )
    assert {layer.path for layer in report.layers} == {"fc", "bn", "temperature"}
