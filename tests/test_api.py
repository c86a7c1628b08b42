"""The calls that users make: what they take, what they leave alone, what they refuse."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv.batch import ConvertKeywords
from tests.cli.test_cli import run
from tests.conftest import ROOT

FUNCTIONS = [
    name
    for name in ckptconv.__all__
    if inspect.isfunction(getattr(ckptconv, name)) and name.islower()
]


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(5)
    module = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 5), "fc": torch.nn.Linear(5, 2)})
    torch.save(module.state_dict(), tmp_path / "m.pt")
    return tmp_path / "m.pt"


def test_the_public_names_are_listed():
    assert set(ckptconv.__all__) <= set(dir(ckptconv))
    assert not [name for name in dir(ckptconv) if name.startswith("_") and name != "__version__"]
    for name in ckptconv.__all__:
        assert getattr(ckptconv, name) is not None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_takes_gives_and_raises(name):
    text = inspect.getdoc(getattr(ckptconv, name))
    for section in ("Args:", "Returns:", "Raises:", "Examples:"):
        assert section in text, section


def test_no_function_takes_what_it_does_not_name():
    for name in FUNCTIONS:
        for parameter in inspect.signature(getattr(ckptconv, name)).parameters.values():
            typed = "Unpack" in str(parameter.annotation)
            assert parameter.kind is not parameter.VAR_KEYWORD or typed, name


def test_handed_on_options_are_those_of_convert():
    said = inspect.signature(ckptconv.convert).parameters
    keywords = ConvertKeywords.__annotations__
    elsewhere = {"src", "dst", "to", "check", "dry_run", "force", "progress", "network", "stubs"}
    assert set(said) - set(keywords) <= elsewhere
    assert set(keywords) <= set(said)
    for name, annotation in keywords.items():
        assert annotation.__forward_arg__.replace("o.", "") == said[name].annotation, name


def test_a_user_s_script_is_checked(tmp_path):
    lines = {
        'ckptconv.convert("a.pt", "b.ckpt", to="mindspore", force=True)': None,
        'ckptconv.convert("a.pt", "b.ckpt", to="mindspore", forec=True)': '"forec"',
        'ckptconv.convert("a.pt", "b.ckpt", to="mindspor")': '"mindspor"',
        'ckptconv.convert_many([], to="torch", dtpye="float16")': '"dtpye"',
        'ckptconv.load("a.pt", fold_proj=True)': '"fold_proj"',
        'ckptconv.save(ckptconv.load("a.pt"), "b.pt", to="torch", dtype="f16")': '"f16"',
    }
    script = tmp_path / "script.py"
    script.write_text("import ckptconv\n\n" + "\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(script)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines_of = found.stdout.splitlines()
    reports = [line for line in lines_of if line.startswith(str(script)) and " error: " in line]
    assert [report.split(":")[1] for report in reports] == ["4", "5", "6", "7", "8"]
    for report, wrong in zip(reports, filter(None, lines.values()), strict=True):
        assert wrong.strip('"') in report


@pytest.mark.parametrize("option", ["device", "fold_proj", "like"])
def test_load_names_what_it_does_not_take(model, option):
    with pytest.raises(TypeError, match=rf"load\(\).*{option}"):
        ckptconv.load(model, **{option: "ascend"})


def test_a_slip_in_an_option_names_the_call_and_the_option(model, tmp_path):
    with pytest.raises(TypeError, match=r"convert_many\(\).*'dtpye'"):
        ckptconv.convert_many([], to="torch", dtpye="float16")
    for name in ("kinds", "rename", "fuse", "fill", "fold_bias"):
        with pytest.raises(ckptconv.UsageError, match=f"^{name} takes pairs.* found 'fc=Linear'"):
            ckptconv.convert(model, tmp_path / "x.ckpt", to="mindspore", **{name: "fc=Linear"})


def test_mappings_and_iterables_are_taken_alike(model, tmp_path):
    like = {"net.w": (1,)}
    with pytest.raises(ckptconv.DialectError, match="like"):
        ckptconv.convert(model, tmp_path / "x.pt", to="torch", like=like)
    for rename in ({"^rnn$": "a"}, [("^rnn$", "a")], (pair for pair in [("^rnn$", "a")])):
        assert ckptconv.load(model, rename=rename).layers[0].path == "a"
    assert ckptconv.load(model, map={"rnn": "net.rnn"}).layers[0].path == "net.rnn"
    assert ckptconv.load(model, kinds=[("fc", "Linear")])["fc"].evidence == "the user's word"
    two = torch.nn.ModuleDict({"a": torch.nn.GRU(3, 5), "b": torch.nn.GRU(5, 5)})
    torch.save(two.state_dict(), tmp_path / "two.pt")
    fused = ckptconv.load(tmp_path / "two.pt", fuse={"all": ["a", "b"]})
    assert fused.layers[0].num_layers == 2


NETWORK = torch.nn.Linear(3, 4)


@pytest.mark.parametrize(
    ("like", "advised"),
    [
        (NETWORK, r"ckptconv\.load_into\(network, file\)"),
        (NETWORK.state_dict(), r"value\.shape"),
        (torch.nn.PReLU().state_dict(), r"value\.shape"),
        ({"fc.weight": "12"}, r""),
        ([*NETWORK.state_dict()], r"try \{name: value\.shape .*network\.state_dict\(\)"),
        ({*NETWORK.state_dict()}, r"try \{name: value\.shape .*network\.state_dict\(\)"),
        ([*NETWORK.named_parameters()], r"try \{name: value\.shape for name, value in like\}"),
        ([("fc.weight", (4, 3))], r"try dict\(like\)"),
        (3, r""),
    ],
)
def test_what_is_no_mapping_of_shapes_is_sent_where_it_belongs(model, tmp_path, like, advised):
    wanted = r"^like: expected a file, or a mapping of names to shapes, found"
    with pytest.raises(ckptconv.CkptconvError, match=rf"(?s){wanted}.*{advised}"):
        ckptconv.convert(model, tmp_path / "x.ckpt", to="mindspore", like=like)


def test_a_live_cell_or_keras_model_is_sent_where_it_belongs(model, tmp_path):
    nn = pytest.importorskip("mindspore").nn
    with pytest.raises(ckptconv.CkptconvError, match=r"ckptconv\.load_into\(cell, file\)"):
        ckptconv.convert(model, tmp_path / "x.ckpt", to="mindspore", like=nn.Dense(3, 4))
    parameters = [*nn.Dense(3, 4).get_parameters()]
    with pytest.raises(ckptconv.CkptconvError, match=r"\{value\.name: value\.shape for value in"):
        ckptconv.convert(model, tmp_path / "x.ckpt", to="mindspore", like=parameters)
    dense = pytest.importorskip("keras").layers.Dense(2, name="fc")
    with pytest.raises(ckptconv.CkptconvError, match=r"like='w\.weights\.h5'"):
        ckptconv.convert(model, tmp_path / "x.h5", to="keras", like=dense)


def test_many_files_are_renamed_alike(model, tmp_path):
    pairs = [(model, tmp_path / "1.ckpt"), (model, tmp_path / "2.ckpt")]
    rename = (pair for pair in [("^rnn$", "encoder")])
    for outcome in ckptconv.convert_many(pairs, to="mindspore", rename=rename):
        assert outcome.status == "converted"
        names = list(ckptconv.inspect(outcome.target).tensors)
        assert names[0] == "encoder.weight_ih_l0"


def test_a_graph_edited_to_an_unknown_kind_is_refused(model, tmp_path):
    graph = ckptconv.load(model)
    cell = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4)})
    uses = (
        lambda: ckptconv.save(graph, tmp_path / "x.pt", to="torch"),
        lambda: ckptconv.save(graph, tmp_path / "x.ckpt", to="mindspore"),
        lambda: ckptconv.save(graph, tmp_path / "x.h5", to="keras"),
        lambda: ckptconv.to_state_dict(graph, "keras"),
        lambda: ckptconv.load_into(cell, graph),
        lambda: ckptconv.match(graph, cell),
    )
    whole = graph
    for number, layer in enumerate(whole):
        others = {"LSTM", "Conv2d", "Parameter", "Linear", "BatchNorm1d"} - {layer.kind}
        for kind in ("Foo", "", None, 3, "linear", *others):
            layers = [*whole]
            layers[number] = replace(layer, kind=kind)
            graph = replace(whole, layers=tuple(layers))
            wrong = f"not the parameters of a {kind}"
            said = wrong if kind in others else f"{kind!r} is no kind of"
            for use in uses:
                with pytest.raises(ckptconv.CkptconvError, match=f"{layer.path}: {said}"):
                    use()


def test_saving_leaves_the_graph_as_it_was(tmp_path):
    arrays = {"n.weight": np.ones(4, "f4"), "n.bias": np.zeros(4, "f4")}
    graph = ckptconv.from_state_dict(arrays, "torch")
    before = [(layer.kind, layer.candidates, layer.evidence) for layer in graph]
    ckptconv.save(graph, tmp_path / "a.ckpt", to="mindspore", like={"n.gamma": [4], "n.beta": [4]})
    cell = torch.nn.ModuleDict({"n": torch.nn.LayerNorm(4)})
    ckptconv.load_into(cell, graph)
    assert [(layer.kind, layer.candidates, layer.evidence) for layer in graph] == before
    with pytest.raises(AttributeError):
        graph.layers[0].path = "other"


def test_arrays_that_are_given_out_are_copies():
    module = torch.nn.LSTM(3, 5)
    before = module.weight_ih_l0.detach().clone()
    ckptconv.to_state_dict(ckptconv.from_torch(module), "torch")["weight_ih_l0"][:] = 7
    assert torch.equal(module.weight_ih_l0, before)


def test_the_report_s_order_is_the_file_s(tmp_path):
    module = torch.nn.ModuleDict({f"bn{i}": torch.nn.BatchNorm1d(3) for i in range(9)})
    torch.save(module.state_dict(), tmp_path / "m.pt")
    report = ckptconv.convert(
        tmp_path / "m.pt",
        tmp_path / "m.ckpt",
        to="mindspore",
        dry_run=True,
        kinds={"bn*": "BatchNorm1d"},
    )
    expected = [name for name in module.state_dict() if name.endswith("num_batches_tracked")]
    assert list(report.omitted) == expected


@pytest.mark.parametrize("kind", ["x", "int", "[1]"])
def test_an_unknown_kind_is_named(model, kind):
    with pytest.raises(ckptconv.CkptconvError, match="kinds of fc: unknown kind"):
        ckptconv.load(model, kinds={"fc": kind})


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("LSTM(foo=1)", "LSTM has no argument foo"),
        ("LSTM(hidden_size=99)", "expected hidden_size=5, found 99"),
        ("LSTM(hidden_size='x')", "expected hidden_size=5, found x"),
        ("LSTM(batch_first=3)", "batch_first cannot be this"),
        ("LSTM(3, 5)", "arguments that cannot be read"),
        ("LSTM(**{'a': 1})", "arguments that cannot be read"),
        ("LSTM(hidden_size=2)(bias=True)", "arguments that cannot be read"),
        ("LSTM(hidden_size=2, hidden_size=3)", "arguments that cannot be read"),
    ],
)
def test_what_contradicts_the_file_is_refused(model, said, problem):
    for path in ("rnn", "r*"):
        with pytest.raises(ckptconv.CkptconvError) as error:
            ckptconv.load(model, kinds={path: said})
        assert problem in str(error.value)
        assert ckptconv.load(model, kinds={path: "LSTM(hidden_size=5, batch_first=True)"})


@pytest.mark.parametrize("row", ["(1, 2, 3)", "()", "[[1], 1]"])
def test_a_row_of_another_length_is_refused(tmp_path, row):
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).state_dict(), tmp_path / "m.pt")
    for name in ("stride", "padding", "dilation"):
        with pytest.raises(ckptconv.CkptconvError, match=f"{name} cannot be this"):
            ckptconv.load(tmp_path / "m.pt", kinds={"0": f"Conv2d({name}={row})"})


def test_the_sizes_of_a_flat_weight_are_numbers():
    from ckptconv.options import ReadOptions
    from ckptconv.pipeline import lift
    from ckptconv.tensors.tensor import ArrayTensor

    tensors = {"rnn.weight": ArrayTensor(np.ones((4 * 5 * (3 + 5 + 1), 1, 1), "f4"))}
    flat = ckptconv.Checkpoint("memory", tensors)
    read = ReadOptions(
        source="mindspore", flat_layout="cpu", kinds={"rnn": "LSTM(hidden_size='x')"}
    )
    with pytest.raises(ckptconv.CkptconvError, match="hidden_size is no number"):
        lift(flat, read)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"rename": {r"^fc\.": "x"}}, r"'^fc\.' matches"), ({"map": {"nothing": "x"}}, "nothing")],
)
def test_an_entry_that_matches_nothing_lists_what_there_is(model, options, said):
    with pytest.raises(ckptconv.CkptconvError, match="matches no module") as error:
        ckptconv.load(model, **options)
    assert said in str(error.value), "as it was typed"
    assert {"rnn", "fc"} <= {word.strip("',:;") for word in str(error.value).split()}


def test_rules_apply_to_paths(model):
    assert ckptconv.load(model, rename={"^fc": "head_"}).layers[1].path == "head_"
    with pytest.raises(ckptconv.CkptconvError, match="not a regular expression"):
        ckptconv.load(model, rename={"(": "x"})


def test_swapped_names_are_swapped(model):
    graph = ckptconv.load(model, map={"rnn": "fc", "fc": "rnn"})
    assert [layer.path for layer in graph] == ["fc", "rnn"]


def test_a_dry_run_counts_what_a_cast_loses(tmp_path):
    torch.save({"fc.weight": torch.tensor([[7e4, 1e-9, 1.0]])}, tmp_path / "m.pt")
    paths = tmp_path / "m.pt", tmp_path / "o.pt"
    dry, real = (
        ckptconv.convert(*paths, to="torch", dtype="float16", dry_run=dry).notes
        for dry in (True, False)
    )
    assert dry == real
    assert any("1 values overflow" in note for note in dry)


def test_eight_bit_floats_are_cast_too(tmp_path):
    torch.save({"fc.weight": torch.tensor([[0.5, 2.0]]).to(torch.float8_e5m2)}, tmp_path / "m.pt")
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "o.pt", to="torch", dtype="float32")
    found = torch.load(tmp_path / "o.pt", weights_only=True)["fc.weight"]
    assert found.dtype == torch.float32
    assert found.tolist() == [[0.5, 2.0]]


def test_eight_bit_floats_are_not_written_for_mindspore(tmp_path):
    """Its ``load_checkpoint`` ends in a KeyError for all tensors of such a safetensors file."""
    torch.save({"fc.weight": torch.tensor([[0.5, 2.0]]).to(torch.float8_e5m2)}, tmp_path / "m.pt")
    paths = tmp_path / "m.pt", tmp_path / "o.safetensors"
    for options in ({}, {"like": {"fc.weight": (1, 2)}}, {"dry_run": True}):
        with pytest.raises(ckptconv.DialectError, match=r"fc.weight: MindSpore loads no such .*16"):
            ckptconv.convert(*paths, to="mindspore", kinds={"fc": "Linear"}, **options)
        assert not paths[1].exists()
    ckptconv.convert(*paths, to="torch")


def test_errors_name_the_target_and_not_a_temporary_file(tmp_path):
    state = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
    half = {name: value.to(torch.float8_e5m2) for name, value in state.items()}
    torch.save(half, tmp_path / "m.pt")
    with pytest.raises(ckptconv.CkptconvError, match=f"^{tmp_path}/o.ckpt: fc.weight: ") as error:
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "o.ckpt", to="mindspore")
    assert ".part" not in str(error.value)


def test_a_kind_without_levels_has_no_num_layers(model):
    assert not hasattr(ckptconv.load(model)["fc"], "num_layers")
    assert ckptconv.load(model)["rnn"].num_layers == 1


def test_default_targets_of_bundles_and_indexes(model, tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "b2.tar", "w") as file:
        file.add(model, "sub/m.pt")
    run("torch2ms", f"{tmp_path}/b2.tar:sub/m.pt", "-q")
    assert (tmp_path / "m.ckpt").exists()
    from safetensors.torch import save_file

    folder = tmp_path / "sharded"
    folder.mkdir()
    state = torch.load(model, weights_only=True)
    save_file(state, folder / "a.safetensors")
    index = {"weight_map": dict.fromkeys(state, "a.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    run("torch2ms", folder / "model.safetensors.index.json", "-q")
    assert (folder / "model.ckpt").exists()


def test_a_source_that_cannot_be_read_is_named_as_such(model, tmp_path):
    script = textwrap.dedent("""
        import errno, sys, ckptconv
        from ckptconv.io import platform
        graph = ckptconv.load(sys.argv[1])
        def fail(*_):
            raise OSError(errno.EIO, "Input/output error")
        platform.preadv = fail
        try:
            ckptconv.save(graph, sys.argv[2], to="keras")
        except ckptconv.ContainerError as error:
            print(error)
    """)
    command = [sys.executable, "-c", script, str(model), str(tmp_path / "o.h5")]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == f"{model}: cannot be read: Input/output error"


def test_a_file_is_no_graph(model, tmp_path):
    for call in (
        lambda: ckptconv.save(model, tmp_path / "out.pt", to="torch"),
        lambda: ckptconv.to_state_dict(str(model), "torch"),
    ):
        with pytest.raises(ckptconv.UsageError, match=r"graph: expected what load, .* gives"):
            call()


WRONG = (object(), b"x", [1], {1: "b"}, {"fc": 1}, "", "no", 1.5)
"""Values that few options take."""


@pytest.mark.parametrize(
    "option", sorted({*inspect.signature(ckptconv.convert).parameters} - {"src", "dst", "to"})
)
def test_a_value_of_another_type_is_wrong_usage(model, tmp_path, option):
    flags = ("z_convention", "like_order", "fold_proj", "check", "dry_run", "force")
    for value in WRONG:
        if (option, value) == ("forget_bias", 1.5):
            continue
        with pytest.raises(ckptconv.CkptconvError) as raised:
            ckptconv.convert(model, tmp_path / "out.ckpt", to="mindspore", **{option: value})
        if option in flags:
            assert f"{option}: expected True or False" in str(raised.value)
    assert not (tmp_path / "out.ckpt").exists()
