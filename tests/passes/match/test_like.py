"""--like and load_into: the target network's own names, judged by its outputs."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from tests import networks as n
from tests.cli.test_cli import run

ms = pytest.importorskip("mindspore")
from mindspore import nn as msnn  # noqa: E402


class Renamed(msnn.Cell):
    """The sample's network under other names and in another order."""

    def __init__(self):
        super().__init__()
        self.classifier = msnn.Dense(32, 5)
        self.LSTM = msnn.LSTM(12, 16, num_layers=2, batch_first=True, bidirectional=True)
        self.words = msnn.Embedding(40, 12)
        self.scaling = msnn.LayerNorm((32,), epsilon=1e-5)

    def construct(self, tokens, h0, c0):
        states, (h, c) = self.LSTM(self.words(tokens), (h0, c0))
        return self.classifier(self.scaling(states)), h, c


def outputs(net, samples):
    known = np.load(samples / "tagger_outputs.npz")
    tokens = ms.Tensor(known["tokens"].astype("i4"))
    found = net.set_train(False)(tokens, ms.Tensor(known["h0"]), ms.Tensor(known["c0"]))
    return [(a.asnumpy(), known[name]) for a, name in zip(found, ("logits", "h", "c"), strict=True)]


def shapes(net):
    return {p.name: list(p.shape) for p in net.get_parameters()}


@pytest.fixture(params=["ckpt", "json", "lines"])
def target_list(request, tmp_path):
    """Write the parameter list of the target network in each form."""
    net, path = Renamed(), tmp_path / f"like.{request.param}"
    if request.param == "ckpt":
        ms.save_checkpoint(net, str(path))
    elif request.param == "json":
        path.write_text(json.dumps(shapes(net)))
    else:
        path.write_text("\n".join(f"{k}: {tuple(v)}" for k, v in shapes(net).items()))
    return path


def test_other_names_and_another_order(samples, tmp_path, target_list):
    run("torch2ms", samples / "tagger.pt", "-o", tmp_path / "t.ckpt", "--like", target_list, "-q")
    net = Renamed()
    n.load_strictly(net, tmp_path / "t.ckpt")
    for found, expected in outputs(net, samples):
        n.close(found, expected)


def test_a_layer_beyond_recognition_is_refused(samples, tmp_path):
    spec = shapes(Renamed())
    spec["net.out.matrix"] = spec.pop("classifier.weight")
    with pytest.raises(ckptconv.UnmatchedError) as error:
        to_mindspore(samples / "tagger.pt", tmp_path, spec)
    assert {(e.source, e.target) for e in error.value.plan.impossible} == {
        ("head", None),
        (None, "classifier"),
        (None, "net.out"),
    }
    assert "head → ?: the target has no module of bias (5,), weight (5, 32)" in str(error.value)
    assert not (tmp_path / "m.ckpt").exists()


def to_mindspore(source, folder, like, **options):
    """Convert with the target's shapes and return the arrays that MindSpore loads."""
    target = folder / "m.ckpt"
    ckptconv.convert(source, target, to="mindspore", like=like, force=True, **options)
    return {name: p.asnumpy() for name, p in ms.load_checkpoint(str(target)).items()}


@pytest.mark.parametrize("name", ["layers", "layers/", "/", "vars/0", "layers/vars/0", ":0"])
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_names_with_which_no_layer_is_named_have_no_partner(tmp_path, name, suffix):
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "a.pt")
    (tmp_path / "list.json").write_text(json.dumps({"a/kernel": [3, 4], name: [4]}))
    with pytest.raises(ckptconv.UnmatchedError):
        ckptconv.convert(
            tmp_path / "a.pt", tmp_path / f"b{suffix}", to="keras", like=tmp_path / "list.json"
        )


def test_two_layers_of_one_structure_are_never_guessed(tmp_path):
    state = {"a.weight": torch.ones(2, 3), "b.weight": torch.zeros(2, 3)}
    torch.save(state, tmp_path / "m.pt")
    like, kinds = {"x.weight": (2, 3), "y.weight": (2, 3)}, {"a": "Linear", "b": "Linear"}
    with pytest.raises(ckptconv.UnmatchedError, match=r"2 proposed.*try like_order=True") as error:
        to_mindspore(tmp_path / "m.pt", tmp_path, like, kinds=kinds)
    assert error.value.plan.pairs(order=True) == {"a": "x", "b": "y"}
    found = to_mindspore(tmp_path / "m.pt", tmp_path, like, kinds=kinds, like_order=True)
    np.testing.assert_array_equal(found["x.weight"], state["a.weight"])
    report = ckptconv.convert(
        tmp_path / "m.pt",
        tmp_path / "r.ckpt",
        to="mindspore",
        like=like,
        kinds=kinds,
        like_order=True,
    )
    assert "like_order: b → y: order among 2 of this structure" in report.notes


def test_what_only_one_side_has_is_named(tmp_path):
    state = {"a.weight": torch.rand(2, 3), "a.bias": torch.rand(2), "old.weight": torch.rand(4, 4)}
    torch.save(state, tmp_path / "m.pt")
    like = {"a.weight": (2, 3), "new.gamma": (5,), "new.beta": (5,)}
    options = {"drop": ["old", "a.bias"], "fill": {"new.gamma": "ones", "new.beta": "zeros"}}
    found = to_mindspore(tmp_path / "m.pt", tmp_path, like, **options)
    assert {name: value.tolist() for name, value in found.items() if name != "a.weight"} == {
        "new.gamma": [1.0] * 5,
        "new.beta": [0.0] * 5,
    }
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "d.ckpt", to="mindspore", like=like, dry_run=True, **options
    )
    assert report.omitted == {"a.bias": "dropped as a.bias", "old.weight": "dropped as old"}
    for wrong, message in (
        ({"fill": {"nope": "ones"}}, "nope: fill: the target has no such module"),
        ({"fill": {"new": "twos"}}, "zeros or ones or target"),
        ({"fill": {"new": "target"}}, "a checkpoint of the target network"),
        ({"drop": ["nope"]}, "nope: drop: no such module or parameter: expected a or old"),
    ):
        with pytest.raises(ckptconv.CkptconvError, match=message):
            to_mindspore(tmp_path / "m.pt", tmp_path, like, **wrong)


def test_values_of_the_target_itself(tmp_path):
    torch.save({"fc.weight": torch.rand(2, 3)}, tmp_path / "m.pt")
    net = msnn.SequentialCell(msnn.Dense(3, 2, has_bias=False), msnn.LayerNorm((7,)))
    net[1].gamma.set_data(ms.Tensor(np.arange(7, dtype="f4")))
    ms.save_checkpoint(net, str(tmp_path / "like.ckpt"))
    found = to_mindspore(tmp_path / "m.pt", tmp_path, tmp_path / "like.ckpt", fill={"1": "target"})
    np.testing.assert_array_equal(found["1.gamma"], np.arange(7))


def test_what_speaks_of_a_target_needs_one(tmp_path):
    torch.save({"fc.weight": torch.rand(2, 3)}, tmp_path / "m.pt")
    for options in ({"like_order": True}, {"fill": {"new": "ones"}}):
        with pytest.raises(ckptconv.CkptconvError, match="of a target network: expected like="):
            to_mindspore(tmp_path / "m.pt", tmp_path, None, **options)


def test_a_folded_bias_must_fit(tmp_path):
    state = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LayerNorm(4)).state_dict()
    torch.save(state, tmp_path / "m.pt")
    for pair, message in (
        ({"0": "2"}, "a BatchNorm with running_mean"),
        ({"0": "9"}, "9: fold_bias"),
    ):
        with pytest.raises(ckptconv.DialectError, match=message):
            to_mindspore(tmp_path / "m.pt", tmp_path, None, fold_bias=pair)


def test_dtypes_are_part_of_the_match(tmp_path):
    torch.save({"fc.weight": torch.rand(2, 3).half()}, tmp_path / "m.pt")
    for dtype in ("float64", "float32"):
        (tmp_path / "like.txt").write_text(f"fc.weight (2, 3) {dtype}")
        message = f"the target has fc of another dtype: .*try dtype='{dtype}'"
        with pytest.raises(ckptconv.UnmatchedError, match=message):
            to_mindspore(tmp_path / "m.pt", tmp_path, tmp_path / "like.txt")
    found = to_mindspore(tmp_path / "m.pt", tmp_path, tmp_path / "like.txt", dtype="float32")
    assert found["fc.weight"].dtype == np.float32


def test_the_training_state_of_a_target_is_ignored(tmp_path):
    net = msnn.Dense(3, 2)
    optimizer = msnn.Adam(net.trainable_params())
    ms.save_checkpoint(msnn.TrainOneStepCell(net, optimizer), str(tmp_path / "like.ckpt"))
    assert len(ms.load_checkpoint(str(tmp_path / "like.ckpt"))) > 4
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "m.pt")
    plan = ckptconv.match(tmp_path / "m.pt", tmp_path / "like.ckpt")
    assert plan.complete


def test_the_target_settles_kinds(tmp_path):
    state = {"thing.weight": torch.rand(5, 3), "other.weight": torch.rand(4, 6)}
    torch.save(state, tmp_path / "m.pt")
    (tmp_path / "like.json").write_text('{"thing.embedding_table": [5, 3], "o.weight": [4, 6]}')
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", like=tmp_path / "like.json"
    )
    assert [layer.kind for layer in report.layers] == ["Embedding", "Linear"]
    assert report.layers[0].evidence == "parameters of the target network"
    loaded = ms.load_checkpoint(str(tmp_path / "m.ckpt"))
    np.testing.assert_array_equal(loaded["o.weight"].asnumpy(), state["other.weight"].numpy())


@pytest.mark.parametrize("leaf", ["weight", "embedding_table"])
def test_the_target_outweighs_a_name(tmp_path, leaf):
    state = {"words.weight": torch.rand(9, 4), "decoder.weight": torch.rand(9, 4)}
    torch.save({**state, "norm.weight": torch.rand(4)}, tmp_path / "m.pt")
    like = {
        "words.weight": (9, 4),
        f"decoder.{leaf}": (9, 4),
        "norm.gamma": (4,),
        "norm.beta": (4,),
    }
    found = to_mindspore(tmp_path / "m.pt", tmp_path, like)
    np.testing.assert_array_equal(found[f"decoder.{leaf}"], state["decoder.weight"])


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("to", ["torch", "mindspore"])
def test_a_list_without_buffers_says_so(tmp_path, to, renamed):
    parts = {
        "fc": nn.Linear(3, 4),
        "bn": nn.BatchNorm1d(4),
        "rest": nn.BatchNorm1d(5, affine=False),
    }
    torch.save(n.fill(nn.ModuleDict(parts)).state_dict(), tmp_path / "m.pt")
    name = "norm" if renamed else "bn"
    cells = {"fc": ms.nn.Dense(3, 4), name: ms.nn.BatchNorm1d(4)}
    listed = (
        [(p.name, p.shape) for p in ms.nn.CellDict(cells).trainable_params()]
        if to == "mindspore"
        else [
            (key, tuple(p.shape))
            for key, p in nn.ModuleDict({"fc": parts["fc"], name: parts["bn"]}).named_parameters()
        ]
    )
    (tmp_path / "like.txt").write_text("\n".join(f"{key} {shape}" for key, shape in listed))
    kinds = dict.fromkeys(("bn", "rest"), "BatchNorm1d")
    with pytest.raises(ckptconv.UnmatchedError) as error:
        ckptconv.convert(
            tmp_path / "m.pt",
            tmp_path / "o.safetensors",
            to=to,
            like=tmp_path / "like.txt",
            kinds=kinds,
        )
    mean = "running_mean (4,)" if to == "torch" else "moving_mean (4,)"
    told = str(error.value)
    assert re.search(
        rf"bn → \?: the target has {name} without [^;:]*{re.escape(mean)}[^;:]*: buffers, which a "
        r"list of trainable parameters leaves out;",
        told,
    )
    assert re.search(r"rest → \?: [^:;]*: buffers, which", told) or to == "mindspore"
    assert re.search(rf"\? → {name}: the source has bn .* too", told)
    assert "try a list of all of state_dict() in torch, of get_parameters() in MindSpore" in told


def test_what_a_module_has_more_or_less_is_said(tmp_path):
    torch.save(nn.ModuleDict({"fc": nn.Linear(3, 4)}).state_dict(), tmp_path / "m.pt")
    for like, said in (
        ({"fc.weight": (4, 3)}, r"fc → \?: the target has fc without bias \(4,\)"),
        (
            {"fc.weight": (4, 3), "fc.bias": (4,), "fc.gain": (1,)},
            r"fc → \?: the target has fc with gain \(1,\) too",
        ),
    ):
        with pytest.raises(ckptconv.UnmatchedError, match=said) as error:
            ckptconv.convert(tmp_path / "m.pt", tmp_path / "o.pt", to="torch", like=like)
        assert "state_dict" not in str(error.value)


def test_case_is_forgiven(tmp_path):
    torch.save({"Enc.Weight": torch.rand(5)}, tmp_path / "m.pt")
    (tmp_path / "like.txt").write_text("enc.weight (5,)\n")
    ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", like=tmp_path / "like.txt"
    )
    assert list(ms.load_checkpoint(str(tmp_path / "m.ckpt"))) == ["enc.weight"]


def test_load_into_a_cell_and_a_module(samples):
    cell = Renamed()
    report = ckptconv.load_into(cell, samples / "tagger.pt")
    assert report.written
    for found, expected in outputs(cell, samples):
        n.close(found, expected)
    module = nn.ModuleDict({"lstm": nn.LSTM(12, 16, 2, bidirectional=True)})
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ckptconv.DialectError, match="the target has no module of"):
        ckptconv.load_into(module, samples / "tagger.pt")
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    with pytest.raises(ckptconv.CkptconvError, match=r"a mindspore\.nn\.Cell or a torch.nn.Module"):
        ckptconv.load_into(object(), samples / "tagger.pt")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_from_a_live_module_into_a_live_one(dtype):
    kind = getattr(torch, dtype)
    source = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 5, bias=False), nn.LayerNorm(5))
    source = n.fill(source).to(kind)
    graph = ckptconv.from_torch(source)
    assert [layer.kind for layer in graph] == ["Embedding", "Linear", "LayerNorm"]
    assert [layer.evidence for layer in graph][:2] == ["class in the file"] * 2
    assert graph["2"].attributes["eps"] == 1e-5
    target = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 5, bias=False), nn.LayerNorm(5))
    ckptconv.load_into(target.to(kind), graph)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)
    arrays = ckptconv.to_state_dict(graph, "mindspore")
    assert list(arrays) == ["0.embedding_table", "1.weight", "2.gamma", "2.beta"]


def test_a_batch_norm_from_mindspore_fills_a_torch_module(tmp_path):
    cell = msnn.SequentialCell(msnn.BatchNorm2d(3))
    ms.save_checkpoint(cell, str(tmp_path / "bn.ckpt"))
    module = n.fill(nn.Sequential(nn.BatchNorm2d(3)))
    ckptconv.load_into(module, tmp_path / "bn.ckpt", kinds={"0": "BatchNorm2d"})
    assert module[0].num_batches_tracked == 0
    assert torch.equal(module[0].running_var, torch.ones(3))


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_a_keras_model_is_a_target_too(tmp_path, suffix):
    keras = pytest.importorskip("keras")
    lstm, two_ways = keras.layers.LSTM, keras.layers.Bidirectional

    def model():
        return keras.Sequential(
            [
                keras.layers.Input((None, 3)),
                two_ways(lstm(4, return_sequences=True), name="low"),
                two_ways(lstm(4, return_sequences=True), name="high"),
                keras.layers.Dropout(0.1),
                keras.layers.Dense(5, name="first"),
                keras.layers.Dense(5, name="last"),
            ]
        )

    target = model()
    like = tmp_path / f"like{suffix}"
    target.save_weights(like) if "weights" in suffix else target.save(like)
    parts = {"rnn": nn.LSTM(3, 4, 2, bidirectional=True), "a": nn.Linear(8, 5)}
    module = n.fill(nn.ModuleDict({**parts, "b": nn.Linear(5, 5)}))
    torch.save(module.state_dict(), tmp_path / "m.pt")
    plan = ckptconv.match(tmp_path / "m.pt", like)
    assert plan.pairs() == {"rnn_l0": "low", "rnn_l1": "high", "a": "first", "b": "last"}
    ckptconv.convert(tmp_path / "m.pt", tmp_path / f"m{suffix}", to="keras", like=like)
    target.load_weights(tmp_path / f"m{suffix}")
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("f4")
    with torch.no_grad():
        states = module["rnn"](torch.from_numpy(x).transpose(0, 1))[0].transpose(0, 1)
        expected = module["b"](module["a"](states)).numpy()
    n.close(np.asarray(target(x).detach()), expected)
    other = tmp_path / ("o.weights.h5" if suffix == ".h5" else "o.h5")
    with pytest.raises(ckptconv.CkptconvError, match="a file of another layout"):
        ckptconv.convert(tmp_path / "m.pt", other, to="keras", like=like)


SQUARE = {"embed": "Embedding", "fc": "Linear", "conv": "Conv1d", "norm": "LayerNorm"}


@pytest.mark.parametrize("unsaid", [*SQUARE, None])
def test_keras_names_that_tell_no_kind(tmp_path, unsaid):
    """In ``.weights.h5`` the weights of all layers are 0, 1, 2, …; here their shapes are equal."""
    keras = pytest.importorskip("keras")
    own = keras.layers
    model = nn.Module()
    model.embed, model.fc = nn.Embedding(4, 4), nn.Linear(4, 4, bias=False)
    model.conv, model.norm = nn.Conv1d(4, 4, 4, bias=False), nn.LayerNorm((4, 4), bias=False)
    torch.save(n.fill(model).state_dict(), tmp_path / "m.pt")
    steps = keras.Input((4, 4))
    made = {
        "embed": own.Embedding(4, 4, name="embed"),
        "fc": own.Dense(4, use_bias=False, name="fc"),
        "conv": own.Conv1D(4, 4, use_bias=False, name="conv"),
        "norm": own.LayerNormalization(axis=(1, 2), center=False, epsilon=1e-5, name="norm"),
    }
    tokens = keras.Input((3,), dtype="int32")
    wired = [layer(tokens if name == "embed" else steps) for name, layer in made.items()]
    target = keras.Model([tokens, steps], wired)
    target.save_weights(tmp_path / "like.weights.h5")
    kinds = {name: kind for name, kind in SQUARE.items() if name != unsaid}
    paths = tmp_path / "m.pt", tmp_path / "out.weights.h5"
    options = {"like": tmp_path / "like.weights.h5", "kinds": kinds}
    plan = ckptconv.match(paths[0], options["like"], kinds=kinds)
    if unsaid is not None:
        assert [entry.source for entry in plan.ambiguous] == [unsaid], plan.to_map()
        with pytest.raises(ckptconv.AmbiguousKindError, match=f"{unsaid}: the file does not tell"):
            ckptconv.convert(*paths, to="keras", **options)
        return
    assert plan.complete
    ckptconv.convert(*paths, to="keras", **options)
    target.load_weights(paths[1])
    x, ids = torch.linspace(-1, 2, 16).reshape(1, 4, 4), torch.tensor([[3, 0, 1]])
    found = [np.asarray(y.detach()) for y in target([ids, x])]
    with torch.no_grad():
        each = model.embed(ids), model.fc(x), model.conv(x.mT).mT, model.norm(x)
    for one, other in zip(found, each, strict=True):
        n.close(one, other.numpy())


@pytest.mark.parametrize(
    "sizes",
    [{"rnn": 2, "rnn_0": 1}, {"rnn_l0": 1, "rnn": 2}, {"rnn": 2, "rnn_1": 2}],
    ids="-".join,
)
def test_levels_for_keras_take_no_name_that_another_layer_has(tmp_path, sizes):
    keras = pytest.importorskip("keras")
    source = nn.ModuleDict()
    for name, levels in sizes.items():
        source[name] = nn.LSTM(4, 4, num_layers=levels)
    n.fill(source)
    x = torch.linspace(-1, 1, 40).reshape(2, 5, 4)
    wired = inputs = keras.Input((5, 4))
    for name in (f"{path}{k}" for path, levels in sizes.items() for k in range(levels)):
        wired = keras.layers.LSTM(4, return_sequences=True, name=f"of_{name}")(wired)
    target = keras.Model(inputs, wired)
    target.save_weights(like := tmp_path / "like.weights.h5")
    out = tmp_path / "out.weights.h5"
    graph = ckptconv.from_torch(source)
    ckptconv.save(graph, out, to="keras", like=like, like_order=True)
    target.load_weights(out)
    expected = x.transpose(0, 1)
    for layer in source.values():
        expected, _ = layer(expected)
    n.close(target.predict(x, verbose=0), expected.transpose(0, 1).detach().numpy())
