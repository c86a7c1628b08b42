"""What goes in from memory: arrays of every kind, and live networks as they are met."""

import keras
import mindspore as ms
import mindspore.nn as msnn
import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from tests import networks as n

WEIGHT = (np.arange(12, dtype="f4") - 5.5).reshape(4, 3) * 0.25
BIAS = np.linspace(-0.4, 0.7, 4, dtype="f4")


def from_file(tmp_path):
    held = np.memmap(tmp_path / "weight.bin", "f4", "w+", shape=(4, 3))
    held[:] = WEIGHT
    return held


def frozen():
    held = WEIGHT.copy()
    held.flags.writeable = False
    return held


READ = {
    "read-only": lambda _: frozen(),
    "big-endian": lambda _: WEIGHT.astype(">f4"),
    "Fortran": lambda _: np.asfortranarray(WEIGHT),
    "strided": lambda _: np.repeat(WEIGHT, 2, 1)[:, ::2],
    "negative strides": lambda _: WEIGHT[::-1, ::-1].copy()[::-1, ::-1],
    "memmap": from_file,
    "matrix": lambda _: np.matrix(WEIGHT),
    "nothing masked": lambda _: np.ma.array(WEIGHT, mask=np.zeros_like(WEIGHT)),
    "bfloat16": lambda _: WEIGHT.astype(ml_dtypes.bfloat16),
    "torch": lambda _: torch.tensor(WEIGHT),
    "Parameter": lambda _: nn.Parameter(torch.tensor(WEIGHT)),
    "of a computation": lambda _: nn.Parameter(torch.tensor(WEIGHT)) * 1,
    "torch transposed": lambda _: torch.tensor(WEIGHT.T.copy()).T,
    "torch bfloat16": lambda _: torch.tensor(WEIGHT, dtype=torch.bfloat16),
    "torch float8": lambda _: torch.tensor(WEIGHT).to(torch.float8_e5m2),
    "negative bit": lambda _: torch._neg_view(torch.tensor(-WEIGHT)),
    "MindSpore": lambda _: ms.Tensor(WEIGHT),
    "ms.Parameter": lambda _: ms.Parameter(ms.Tensor(WEIGHT)),
    "ms bfloat16": lambda _: ms.Parameter(ms.Tensor(WEIGHT, ms.bfloat16)),
    "Keras": lambda _: keras.Variable(WEIGHT),
}


@pytest.mark.parametrize("made", READ.values(), ids=READ)
def test_arrays_that_are_read(made, tmp_path):
    given = made(tmp_path)
    graph = ckptconv.from_state_dict({"fc.weight": given, "fc.bias": BIAS}, "torch")
    ckptconv.save(graph, tmp_path / "out.pt", to="torch", check=True)
    held = torch.load(tmp_path / "out.pt")
    kept = next(
        (name for name in ("bfloat16", "float8_e5m2") if name in str(given.dtype).lower()),
        "float32",
    )
    assert held["fc.weight"].dtype == getattr(torch, kept)
    expected = torch.tensor(WEIGHT).to(held["fc.weight"].dtype)
    assert torch.equal(held["fc.weight"].double(), expected.double())
    assert torch.equal(held["fc.bias"], torch.tensor(BIAS))


REFUSED = {
    "masked": (lambda: np.ma.array(WEIGHT, mask=WEIGHT > 0), "is masked.* try filled"),
    "objects": (lambda: WEIGHT.astype(object), "not an array of numbers.* found ndarray of object"),
    "texts": (lambda: WEIGHT.astype(str), "not an array of numbers"),
    "records": (lambda: WEIGHT.view([("value", "f4")]), "not an array of numbers"),
    "times": (lambda: np.zeros((4, 3), "M8[s]"), "not an array of numbers"),
    "float128": (lambda: WEIGHT.astype(np.longdouble), "not an array of numbers"),
    "int4": (lambda: WEIGHT.astype(ml_dtypes.int4), "not an array of numbers.* of int4"),
    "nothing": (lambda: None, "found NoneType of object"),
    "ragged": (lambda: [[1.0, 2.0], [3.0]], "cannot be read as an array: found ValueError"),
    "sparse": (lambda: torch.tensor(WEIGHT).to_sparse(), r"is sparse; try to_dense\(\)"),
    "meta": (lambda: torch.tensor(WEIGHT, device="meta"), "on the meta device"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.tensor(WEIGHT), 0.1, 0, torch.qint8),
        "is quantized or no tensor.* allow=",
    ),
    "nested": (
        lambda: torch.nested.nested_tensor(
            [torch.ones(4, 3), torch.ones(2, 3)], layout=torch.jagged
        ),
        "is nested",
    ),
    "lazy": (lambda: nn.LazyLinear(4).weight, "lazy module"),
    "fake": (
        lambda: torch._subclasses.FakeTensorMode().from_tensor(torch.ones(4, 3)),
        "cannot be read as an array",
    ),
}


@pytest.mark.parametrize(("made", "said"), REFUSED.values(), ids=REFUSED)
def test_arrays_that_are_refused(made, said):
    with pytest.raises(ckptconv.DialectError, match=rf"^fc\.weight: .*{said}"):
        ckptconv.from_state_dict({"fc.weight": made(), "fc.bias": BIAS}, "torch")


def test_what_is_no_mapping_of_names_is_wrong_usage():
    for arrays in ([("fc.weight", WEIGHT)], "fc.weight", {3: WEIGHT}, nn.Linear(3, 4), None):
        with pytest.raises(ckptconv.UsageError, match="arrays: expected a mapping of names"):
            ckptconv.from_state_dict(arrays, "torch")
    for modules in ([("fc", "Linear")], {"fc": nn.Linear}, "Linear"):
        with pytest.raises(ckptconv.UsageError, match="modules: expected a mapping of names"):
            ckptconv.from_state_dict({"fc.weight": WEIGHT}, "torch", modules=modules)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(6, 4), nn.Linear(4, 6)
        self.head.weight = self.embed.weight


class TiedCell(msnn.Cell):
    def __init__(self):
        super().__init__()
        self.embed, self.head = msnn.Embedding(6, 4), msnn.Dense(4, 6)
        self.head.weight = self.embed.embedding_table


def test_ties_in_memory_are_told_as_those_of_files_are(tmp_path):
    source = n.fill(Tied())
    known = {"embed": "Embedding"}
    live = ckptconv.from_torch(source)
    graphs = [live, ckptconv.from_state_dict(source.state_dict(), "torch", modules=known)]
    untied = nn.ModuleDict({"embed": nn.Embedding(6, 4), "head": nn.Linear(4, 6)})
    for graph in graphs:
        for name, rule in (("a.pt", "and one storage here"), ("a.safetensors", "tie them in")):
            report = ckptconv.save(graph, tmp_path / name, to="torch", force=True)
            assert [note for note in report.notes if "one tensor" in note and rule in note]
        loaded = torch.load(tmp_path / "a.pt")
        assert loaded["embed.weight"].data_ptr() == loaded["head.weight"].data_ptr()
    file = ckptconv.load(tmp_path / "a.pt", kinds=known)
    for graph in (live, file):
        for dtype in (None, "float32"):
            for target, said in (
                (Tied(), "and one storage"),
                (untied, "tie them"),
                (TiedCell(), ""),
            ):
                notes = " ".join(ckptconv.load_into(target, graph, dtype=dtype).notes)
                assert said in notes
                assert bool(said) == ("one tensor" in notes)


def test_a_network_of_keras_is_no_torch_module_whose_axes_are_torch_s():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    before = [weight.copy() for weight in model.get_weights()]
    inside = nn.ModuleList([nn.Linear(3, 3)])
    inside.append(model)
    graph = ckptconv.from_torch(nn.Linear(3, 3))
    for network in (model, inside, model.layers[0]):
        for call in (
            lambda: ckptconv.from_torch(network),  # noqa: B023
            lambda: ckptconv.load_into(network, graph),  # noqa: B023
            lambda: ckptconv.load_into(nn.Linear(3, 3), network),  # noqa: B023
            lambda: ckptconv.match(graph, network),  # noqa: B023
        ):
            with pytest.raises(
                ckptconv.CkptconvError, match=r"live network of Keras.* save_weights"
            ):
                call()
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_state_dict_of_keras_is_not_torch_s(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    mixed = nn.Sequential(keras.layers.Dense(3), nn.Linear(3, 3))
    mixed(torch.ones(1, 3))
    for state in (model.state_dict(), mixed.state_dict()):
        with pytest.raises(ckptconv.DialectError, match=r"layer of Keras .* model\.save_weights"):
            ckptconv.from_state_dict(state, "torch")
        torch.save(state, tmp_path / "m.pt")
        with pytest.raises(ckptconv.DialectError, match=r"layer of Keras .* model\.save_weights"):
            ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")


def test_a_class_is_not_a_network():
    graph = ckptconv.from_torch(nn.Linear(3, 4))
    for network in (nn.Linear, msnn.Dense):
        for call in (ckptconv.from_torch, lambda cls: ckptconv.load_into(cls, graph)):
            with pytest.raises(ckptconv.CkptconvError, match=r"not a network.* found the class"):
                call(network)


def test_what_is_no_network_or_no_tuple_of_inputs_is_said():
    layer = nn.Linear(3, 4)
    graph, optimizer = ckptconv.from_torch(layer), torch.optim.Adam(layer.parameters())
    for call in (ckptconv.from_torch, lambda value: ckptconv.load_into(value, graph)):
        with pytest.raises(ckptconv.CkptconvError, match=r"not a network.* found Adam"):
            call(optimizer)
    x = torch.ones(1, 3)
    for inputs in (x, x.numpy()):
        with pytest.raises(ckptconv.UsageError, match="inputs: expected a tuple of arrays"):
            ckptconv.match(layer, nn.Linear(3, 4), inputs=inputs)
        assert ckptconv.match(layer, nn.Linear(3, 4), inputs=(inputs,)).complete


def test_what_several_elements_share_is_refused_before_anything_is_written():
    target = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    target[1].weight = nn.Parameter(torch.ones(1, 4).expand(4, 4))
    before = {name: value.clone() for name, value in target.state_dict().items()}
    source = n.fill(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4)))
    with pytest.raises(ckptconv.CkptconvError, match=r"1\.weight: cannot be filled: several"):
        ckptconv.load_into(target, ckptconv.from_torch(source))
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_a_source_may_share_memory_with_its_target():
    source = n.fill(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    first, second = (layer.weight.detach().clone() for layer in source)
    target = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    for at in (0, 1):
        target[at].weight, target[at].bias = source[1 - at].weight, source[1 - at].bias
    ckptconv.load_into(target, ckptconv.from_torch(source))
    assert torch.equal(target[0].weight, first)
    assert torch.equal(target[1].weight, second)


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)


def test_what_no_parameter_shows_is_told():
    pairs = (
        (Scaled(2.0), Scaled(3.0), "the network's own scale stays: a buffer that state_dict()"),
        (
            nn.TransformerEncoderLayer(4, 2, 8),
            nn.TransformerEncoderLayer(4, 2, 8, norm_first=True),
            ": norm_first is False in the source; the network's is True",
        ),
        (
            nn.EmbeddingBag(5, 3, mode="sum"),
            nn.EmbeddingBag(5, 3),
            ": mode is 'sum' in the source; the network's is 'mean'",
        ),
    )
    for source, target, said in pairs:
        report = ckptconv.load_into(target, ckptconv.from_torch(n.fill(source)))
        assert [note for note in report.notes if note.startswith(said)] == report.notes
    assert "scale" in ckptconv.load_into(nn.Linear(3, 4), ckptconv.from_torch(Scaled(2.0))).omitted
