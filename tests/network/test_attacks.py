"""Names and configurations that would put text of their own into a generated module."""

from __future__ import annotations

import ast
import copy
import json
import re
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv.codegen.emit.names import identifier, paths, printable, reserved
from ckptconv.codegen.emit.text import number
from tests.conftest import ROOT
from tests.network.written import close, run_torch, written

GOLDEN = ROOT / "tests" / "golden" / "keras"
NASTY = ['x"""\nimport os\n"""', "class", "forward", "a b", "日本", "__init__", "1", "self", "load",
         "torch", "nn", "x", "mask", "print", "{0}", "%s", "'); import os; ('", "hard_sigmoid",
         "LSTM", "a-b", "a_b", "\\", "é" * 90]  # fmt: skip


def test_names_of_layers_are_only_names(tmp_path):
    import keras

    x = value = keras.Input((3,), name="in'put\"")
    for name in NASTY:
        value = keras.layers.Dense(3, name=name, activation="tanh")(value)
    model = keras.Model(x, keras.layers.Concatenate()([value, x]))
    model.save(tmp_path / "m.keras")
    module, weights, _ = written(tmp_path / "m.keras", "torch", tmp_path)
    given = np.random.RandomState(0).uniform(-1, 1, (2, 3)).astype(np.float32)
    close(run_torch(module, weights, [given]), [model(given).detach().numpy()], 2e-6)
    tree = ast.parse(weights.with_suffix(".py").read_text())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert imported == {"torch"}


def test_names_of_models_in_a_model_are_only_names(tmp_path):
    import keras

    x = value = keras.Input((5, 3))
    for name in ("CONTAINER", "LSTM", "nn", "hard_sigmoid"):
        lstm = keras.layers.LSTM(3, return_sequences=True, recurrent_activation="hard_sigmoid")
        value = keras.Sequential([lstm, keras.layers.Dense(3, name="CONTAINER")], name=name)(value)
    model = keras.Model(x, value)
    model.save(tmp_path / "m.keras")
    module, weights, _ = written(tmp_path / "m.keras", "torch", tmp_path)
    given = np.random.RandomState(0).uniform(-1, 1, (2, 5, 3)).astype(np.float32)
    close(run_torch(module, weights, [given]), [model(given).detach().numpy()], 2e-6)


@pytest.mark.parametrize("name", NASTY)
def test_identifiers(name):
    made = identifier(name)
    assert made.isidentifier() and made.isascii() and made not in reserved()  # noqa: PT018
    assert not re.search(r'["\\\n]', printable(name))


def test_paths_stay_apart_and_what_is_an_identifier_stays():
    found = paths(["a-b", "a_b", "a.b", "enc.0.lstm", "enc.1.lstm", "lstm_1", "forward"])
    assert len({*found.values()}) == 7
    assert found["lstm_1"] == "lstm_1"
    assert all(part.isidentifier() for path in found.values() for part in path.split("."))


def test_reserved_words_are_those_of_the_frameworks():
    import mindspore
    import torch

    for owner in (torch.nn.Module(), mindspore.nn.Cell()):
        known = {n for n in {*dir(owner), *vars(owner)} if not n.startswith("__")}
        assert known <= reserved()


@pytest.mark.parametrize(
    "option",
    [{"fold_bias": {"a": "b"}}, {"dtype": "float16"}, {"like": {"a": [1]}}],
)
def test_a_network_is_not_written_for_other_weights(tmp_path, option):
    source, net = GOLDEN / "keras231_main_full.h5", tmp_path / "net.py"
    with pytest.raises(ckptconv.CkptconvError, match="does not go with " + min(option)):
        ckptconv.convert(source, tmp_path / "m.pt", to="torch", network=net, **option)
    assert not [*tmp_path.iterdir()]


def test_a_stub_without_a_network_is_wrong_usage(tmp_path):
    with pytest.raises(ckptconv.UsageError, match="written network"):
        ckptconv.convert(
            GOLDEN / "keras231_main_full.h5", tmp_path / "m.pt", to="torch", stubs=["x"]
        )


def config():
    return copy.deepcopy(dict(ckptconv.inspect(GOLDEN / "keras231_main_full.h5").facts.config))


def place(document, *keys):
    for key in keys:
        document = document[key]
    return document


LAYERS = ("config", "layers")
EVIL = "'); import os; ('"
CHANGES = {
    "activation": lambda c: place(c, *LAYERS, -1, "config").update(activation=EVIL),
    "units": lambda c: place(c, *LAYERS, -1, "config").update(units=EVIL),
    "units-huge": lambda c: place(c, *LAYERS, -1, "config").update(units=1 << 80),
    "axis": lambda c: place(c, *LAYERS, -2, "config").update(axis=[EVIL]),
    "axis-nested": lambda c: place(c, *LAYERS, -2, "config").update(axis=[[[1]]]),
    "class": lambda c: place(c, *LAYERS, -2).update(class_name="os.system"),
    "merge": lambda c: place(c, *LAYERS, 2, "config").update(merge_mode=EVIL),
    "gates": lambda c: place(c, *LAYERS, 3, "config").update(recurrent_activation={"a": EVIL}),
    "cycle": lambda c: place(c, *LAYERS, 1).update(inbound_nodes=[[["head", 0, 0, {}]]]),
    "nobody": lambda c: place(c, *LAYERS, 1).update(inbound_nodes=[[["nobody", 0, 0, {}]]]),
    "output": lambda c: c["config"].update(output_layers=[["head", 0, 7]]),
    "call": lambda c: c["config"].update(output_layers=[["head", 7, 0]]),
    "no-outputs": lambda c: c["config"].update(output_layers=[]),
    "refs": lambda c: place(c, *LAYERS, 1).update(inbound_nodes=[[[EVIL]]]),
    "kwargs": lambda c: place(c, *LAYERS, 3).update(
        inbound_nodes=[[["bi", 0, 0, {"initial_state": [["bi", 0, 0]]}]]]
    ),
    "shape": lambda c: place(c, *LAYERS, 0, "config").update(batch_input_shape=[None, EVIL]),
    "call-kwargs": lambda c: place(c, *LAYERS, 1).update(
        inbound_nodes=[{"args": [["tokens", 0, 0]], "kwargs": 5}]
    ),
    "no-inner": lambda c: place(c, *LAYERS, 2, "config").pop("layer"),
    "shape-number": lambda c: place(c, *LAYERS, 0, "config").update(batch_input_shape=5),
    "unused-weights": lambda c: c["config"].update(output_layers=[["embed", 0, 0]]),
    "no-layers": lambda c: c["config"].update(layers=[]),
    "layers-text": lambda c: c["config"].update(layers=EVIL),
    "nan": lambda c: place(c, *LAYERS, -2, "config").update(epsilon=float("nan")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_configuration_gives_an_error_or_clean_text(change, tmp_path):
    document = config()
    CHANGES[change](document)
    (tmp_path / "c.json").write_text(json.dumps(document))
    target, text = tmp_path / "m.pt", tmp_path / "net.py"
    options = {"to": "torch", "network": text, "config": tmp_path / "c.json"}
    problem = ""
    try:
        ckptconv.convert(GOLDEN / "keras231_main.h5", target, **options)
    except ckptconv.CkptconvError as error:
        problem = str(error)
    if problem:
        assert "\n" not in problem
        assert [p.name for p in tmp_path.iterdir()] == ["c.json"]
    else:
        assert "import os" not in text.read_text()
        compile(text.read_text(), "net", "exec")


@pytest.mark.parametrize("value", ['a"b', "a b", "a\n", "", "1a", b"a", {"a": 1}, (1, 'b"'), 1j])
def test_what_is_neither_a_number_nor_a_word_is_not_written(value):
    with pytest.raises(ckptconv.CkptconvError, match="expected a number or a word"):
        number(value)


def test_a_number_that_is_none_is_refused(tmp_path):
    import keras

    layers = [keras.Input((3,)), keras.layers.Dense(2), keras.layers.ReLU(max_value=3.25)]
    model = keras.Sequential(layers)
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "c.json").write_text(model.to_json().replace("3.25", "NaN"))
    options = {"to": "torch", "network": tmp_path / "net.py", "config": tmp_path / "c.json"}
    with pytest.raises(ckptconv.CkptconvError, match=r"m\.weights\.h5: .*, found nan"):
        ckptconv.convert(tmp_path / "m.weights.h5", tmp_path / "m.pt", **options)


def test_configuration_beside_weights(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(config()))
    found = written(GOLDEN / "keras231_main.h5", "torch", tmp_path, config=tmp_path / "c.json")
    with np.load(GOLDEN / "keras231_main.npz") as data:
        close(run_torch(found[0], found[1], [data["x"]]), [data["y"]], 2e-6)


@pytest.mark.parametrize(
    ("file", "words"),
    [("keras231_main.h5", "config="), ("../../../samples/tagger.pt", "torch.export")],
)
def test_files_without_a_network_say_how_to_get_one(file, words, tmp_path):
    with pytest.raises(ckptconv.CkptconvError, match=words):
        ckptconv.convert(GOLDEN / file, tmp_path / "m.ckpt", to="mindspore",
                         network=tmp_path / "net.py")  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_stub_is_left_to_be_written(tmp_path):
    source = GOLDEN / "keras231_lambda_full.h5"
    network = tmp_path / "net.py"
    ckptconv.convert(source, tmp_path / "m.pt", to="torch", network=network, stubs=["twice"])
    text = network.read_text()
    assert 'raise NotImplementedError("twice")' in text
    network.write_text(text.replace('raise NotImplementedError("twice")', "return 2 * x"))
    from tests.network.written import imported

    with np.load(GOLDEN / "keras231_lambda_full.npz") as data:
        found = run_torch(imported(network), tmp_path / "m.pt", [data["x"]])
        close(found, [data["y"]], 2e-6)


def test_a_stub_takes_as_many_values_as_it_is_given(tmp_path):
    import keras

    given = [keras.Input((3,)) for _ in range(7)]
    made = keras.layers.Add(name="mix")([keras.layers.Dense(2)(x) for x in given])
    keras.Model(given, made).save(tmp_path / "m.keras")
    network = tmp_path / "net.py"
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data.replace(b'"class_name": "Add"', b'"class_name": "Mix"'))
    ckptconv.convert(
        tmp_path / "m.keras", tmp_path / "m.pt", to="torch", network=network, stubs=["mix"]
    )
    assert "def mix(*values):" in network.read_text()


def test_a_stub_that_is_no_layer_is_refused(tmp_path):
    """Else a misspelt one, or one for an archive of operators, would be passed over in silence."""
    torch.export.save(torch.export.export(nn.Linear(2, 3), (torch.ones(1, 2),)), tmp_path / "m.pt2")
    given = {"to": "torch", "network": tmp_path / "net.py", "stubs": ["thrice"]}
    for source, words in (
        (GOLDEN / "keras231_main_full.h5", "thrice.*: no layer of the network"),
        (tmp_path / "m.pt2", "has operators"),
    ):
        with pytest.raises(ckptconv.CkptconvError, match=words):
            ckptconv.convert(source, tmp_path / "m.pt", **given)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_operators_are_no_layers_of_the_same_name(suffix, tmp_path):
    import keras

    x = keras.Input((4, 3), name="x")
    y = keras.layers.LSTM(3, return_sequences=True)(keras.layers.Masking()(x))
    model = keras.Model(x, [y + 1.5, (y * x)[:, -1], 2.0 - y])
    path = tmp_path / f"m{suffix}"
    model.save(path)
    module, weights, _ = written(path, "torch", tmp_path)
    given = np.random.RandomState(0).uniform(-1, 1, (2, 4, 3)).astype(np.float32)
    given[0, :2] = 0
    wanted = [value.detach().numpy() for value in model(given)]
    close(run_torch(module, weights, [given]), wanted, 2e-6)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("op", ["maximum", "multiply", "power"])
def test_operations_of_other_than_their_values(tmp_path, op, count):
    import keras

    x = keras.Input((3,))
    y = keras.layers.Dense(3)(x)
    model = keras.Model(x, getattr(keras.ops, op)(y, y))
    config = json.loads(model.to_json())
    entry = config["config"]["layers"][-1]
    node = entry["inbound_nodes"][0]
    node["args"] = (node["args"] * 3)[:count]
    (tmp_path / "model.json").write_text(json.dumps(config))
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ckptconv.CkptconvError):
        written(tmp_path / "m.weights.h5", "torch", tmp_path, config=tmp_path / "model.json")
