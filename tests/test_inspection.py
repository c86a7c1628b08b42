"""``ckptconv inspect``: everything a file tells, as JSON and as a tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

import ckptconv
from ckptconv.cli.render import print_inspection
from ckptconv.cli.tables import Branch, print_tree
from ckptconv.inspection import describe

pytestmark = pytest.mark.filterwarnings("ignore")
KEYS = [
    "schema",
    "path",
    "container",
    "framework",
    "metadata",
    "choices",
    "tensors",
    "parameters",
    "bytes",
    "modules",
    "classes",
    "omitted",
    "notes",
]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"embed": nn.Embedding(5, 4), "rnn": nn.GRU(4, 4)})
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.encoder["embed"].weight


def module_of(description: dict[str, Any], path: str) -> dict[str, Any]:
    return next(module for module in description["modules"] if module["path"] == path)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    torch.save({"epoch": 3, "model": Model()}, tmp_path / "m.pt")
    return tmp_path / "m.pt"


def test_a_whole_module(whole: Path) -> None:
    found = describe(whole)
    assert list(found) == KEYS
    json.dumps(found)
    assert (found["container"], found["framework"]) == ("torch-zip", "torch")
    assert found["metadata"] == {"selected": "model", "format_version": "3"}
    count = sum(p.numel() for p in Model().parameters())
    assert (found["tensors"], found["parameters"], found["bytes"]) == (8, count, 4 * count)
    rnn = module_of(found, "encoder.rnn")
    assert (rnn["kinds"], rnn["class"]) == (["GRU"], "GRU")
    assert rnn["evidence"] == "weight_hh has 3 blocks of rows"
    assert rnn["attributes"]["batch_first"] is False
    assert rnn["tensors"][0] == {
        "name": "encoder.rnn.weight_ih_l0",
        "dtype": "float32",
        "stored": "float32",
        "shape": [12, 4],
        "tied": [],
    }
    assert module_of(found, "head")["tensors"][0]["tied"] == ["encoder.embed.weight"]
    assert found["classes"][""].endswith("test_inspection.Model")
    assert found["classes"]["encoder"] == "ModuleDict"
    assert found["omitted"] == {"epoch": "beside the selected weights: 3"}


def test_the_tree(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_inspection(describe(whole))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{whole}: torch-zip, torch, selected model, format_version 3"
    assert lines[1] == "8 tensors, 148 parameters, 592 bytes"
    tree = [line.replace("\xa0", " ").rstrip() for line in lines[2:]]
    assert tree[0].startswith("m.pt: ")
    at = tree.index("├── encoder: ModuleDict")
    assert tree[at + 1].startswith(
        "│   ├── embed: Embedding  [class in the file]  num_embeddings=5"
    )
    assert tree[at + 2] == "│   │   └── encoder.embed.weight  float32 5×4  tied to head.weight"
    assert tree[at + 3].startswith("│   └── rnn: GRU  [weight_hh has 3 blocks of rows]")
    assert "left out: epoch: beside the selected weights: 3" in lines
    assert "note: the weights stand under 'model' in the file" in lines


def test_kinds_that_the_file_does_not_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(Model().state_dict(), tmp_path / "m.pt")
    found = describe(tmp_path / "m.pt")
    assert module_of(found, "norm")["kinds"] == ["LayerNorm", "GroupNorm"]
    assert module_of(found, "norm")["evidence"] == "_metadata version"
    print_inspection(found)
    assert "norm: LayerNorm or GroupNorm  [_metadata version]" in capsys.readouterr().out


def test_several_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"encoder": nn.GRU(2, 3).state_dict(), "decoder": nn.Linear(3, 2).state_dict()}
    torch.save(value, tmp_path / "m.pt")
    found = describe(tmp_path / "m.pt")
    assert list(found) == KEYS
    assert found["choices"] == [
        {"select": "encoder", "tensors": 4, "bytes": 4 * (9 * 2 + 9 * 3 + 18)},
        {"select": "decoder", "tensors": 2, "bytes": 4 * 8},
        {"select": "*", "tensors": 6, "bytes": 4 * (9 * 2 + 9 * 3 + 18 + 8)},
    ]
    print_inspection(found)
    assert "--select decoder: 2 tensors, 32 bytes" in capsys.readouterr().out
    assert describe(tmp_path / "m.pt", select="decoder")["choices"] == []


def test_quantized_weights_can_be_looked_at(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    packed = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    torch.save(packed.state_dict(), tmp_path / "m.pt")
    tensor = module_of(describe(tmp_path / "m.pt"), "0")["tensors"][0]
    assert (tensor["dtype"], tensor["stored"]) == ("float32", "int8")


@pytest.mark.parametrize(
    "names",
    [
        ["weight_hh_l0"],
        ["a.weight_orig", "a.weight_strange"],
        ["a.parametrizations.weight.original", "a.parametrizations.weight.0.base"],
        ["", ".", "..", "a..b", "\x1b[31m"],
    ],
)
def test_names_that_make_no_sense(
    tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({name: torch.ones(2, 2) for name in names}, tmp_path / "m.pt")
    found = describe(tmp_path / "m.pt")
    listed = [t["name"] for module in found["modules"] for t in module["tensors"]]
    assert sorted(listed) == sorted(names)
    print_inspection(found)
    assert "\x1b" not in capsys.readouterr().out


def test_versions(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 4))
    torch.jit.save(torch.jit.script(network), tmp_path / "s.pt")
    assert describe(tmp_path / "s.pt")["metadata"] == {"format_version": "3"}
    program = torch.export.export(network, (torch.ones(1, 3),))
    torch.export.save(program, tmp_path / "e.pt2")
    assert describe(tmp_path / "e.pt2")["metadata"] == {"torch_version": torch.__version__}
    save_file({"w": np.ones(3, "f4")}, tmp_path / "m.safetensors", metadata={"format": "pt"})
    assert describe(tmp_path / "m.safetensors")["metadata"]["format"] == "pt"


def test_other_frameworks(tmp_path: Path) -> None:
    torch.save(nn.LSTM(3, 4).state_dict(), tmp_path / "m.pt")
    for to, name in (("mindspore", "m.ckpt"), ("keras", "m.h5")):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / name, to=to)
        found = describe(tmp_path / name)
        assert found["framework"] == to
        assert [kind for module in found["modules"] for kind in module["kinds"]] == ["LSTM"]
    assert found["metadata"]["keras_version"]


def test_names_and_kinds_as_the_user_says(tmp_path):
    state = {"net.thing.weight": torch.ones(2, 3), "net.odd.weight": torch.ones(3, 3)}
    torch.save(state, tmp_path / "m.pt")
    kinds = {"net.thing": "Embedding"}
    found = describe(tmp_path / "m.pt", kinds=kinds, rename=[(r"^net\.", "")])
    first = found["modules"][0]
    assert (first["path"], first["kinds"]) == ("thing", ["Embedding"])
    assert first["evidence"] == "the user's word"
    assert first["tensors"][0]["name"] == "net.thing.weight"
    with pytest.raises(ckptconv.CkptconvError, match="names no module"):
        describe(tmp_path / "m.pt", kinds={"nothing": "Linear"})
    with pytest.raises(ckptconv.CkptconvError, match="not a file of Keras"):
        describe(tmp_path / "m.pt", source="keras")


def test_a_tree_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ckptconv.cli.tables._width", lambda: 24)
    root = Branch("a.pt")
    encoder = root.add("encoder: LSTM  [class in the file]")
    encoder.add("a_name_that_is_longer_than_the_line  float32 4")
    root.add("head: Linear")
    print_tree(root)
    assert capsys.readouterr().out.splitlines() == [
        "a.pt",
        "├── encoder: LSTM",
        "│   │   [class in the",
        "│   │   file]",
        "│   └── a_name_that_is_longer_than_the_line",
        "│           float32 4",
        "└── head: Linear",
    ]


def test_a_tree_of_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    branch = root = Branch("0")
    for depth in range(1, 2000):
        branch = branch.add(str(depth))
    print_tree(root)
    assert len(capsys.readouterr().out.splitlines()) == 2000


def unsaid(tmp_path: Path) -> dict[str, Any]:
    """Save files whose kinds are open, and return what conversion asks of each, and of what."""
    norm = nn.utils.parametrizations.weight_norm
    torch.save(nn.Sequential(norm(nn.Linear(3, 4)), nn.GRU(4, 2)).state_dict(), tmp_path / "w.pt")
    cells = ms.nn.SequentialCell(ms.nn.BatchNorm3d(3), ms.nn.Conv1d(3, 4, 3), ms.nn.Dense(2, 5))
    ms.save_checkpoint(cells, str(tmp_path / "c.ckpt"))
    square = {f"0.{leaf}": torch.randn(*size) for leaf, size in _SPECTRAL.items()}
    torch.save({**square, **nn.LSTM(3, 4).state_dict(prefix="1.")}, tmp_path / "s.pt")
    return {
        "w.pt": (["Linear"], ["GRU"]),
        "s.pt": (["Linear", "RMSNorm"], ["LSTM"]),
        "c.ckpt": (["BatchNorm2d"], ["Conv1d", "RMSNorm"], ["Linear"]),
    }


_SPECTRAL = {"weight_orig": (4, 4), "weight_u": (4,), "weight_v": (4,), "bias": (4,)}


def test_what_is_known_beside_open_kinds_is_shown_with_the_question(tmp_path: Path) -> None:
    for name, kinds in unsaid(tmp_path).items():
        with pytest.raises(ckptconv.AmbiguousKindError) as raised:
            ckptconv.load(tmp_path / name)
        found = describe(tmp_path / name)
        assert found["notes"][0].partition("; try")[0] == str(raised.value).partition("; try")[0]
        assert len(found["modules"]) == len(kinds)
        for module, among in zip(found["modules"], kinds, strict=True):
            assert set(module["kinds"]) & set(among), module
        listed = [t["name"] for module in found["modules"] for t in module["tensors"]]
        assert sorted(listed) == sorted(ckptconv.inspect(tmp_path / name).tensors)
    by_path = {module["path"]: module for module in found["modules"]}
    assert by_path["1"]["kinds"][0] == "Conv1d"
    assert len(by_path["1"]["kinds"]) > 1
    assert by_path["1"]["evidence"].startswith("the file does not tell")
    assert by_path["2"]["evidence"] == "parameter names and shapes"
