"""A target network's parameters in every usual printing."""

from __future__ import annotations

import pytest
import torch

from ckptconv.errors import ContainerError
from ckptconv.formats import shapes

PRINTED = {
    "json": '{"fc.weight": [5, 3], "s": []}',
    "json with dtypes": '{"fc.weight": {"shape": [5, 3], "dtype": "float32"}, "s": {"shape": []}}',
    "tuples": "fc.weight (5, 3)\ns ()\n",
    "colons": "fc.weight: (5, 3)\n\n  s: []",
    "torch sizes": "fc.weight torch.Size([5, 3])\ns torch.Size([])",
    "torch dtypes": "fc.weight torch.Size([5, 3]) torch.float32\ns torch.Size([]) torch.int64",
    "requires_grad": "fc.weight torch.Size([5, 3]) True\ns torch.Size([]) False",
    "times": "fc.weight 5x3\ns ()",
    "pipes": "fc.weight | (5, 3) | float32\ns | () | int64",
    "tabs": "fc.weight\t[5, 3]\ns\t[]",
    "pairs": "('fc.weight', torch.Size([5, 3]))\n('s', torch.Size([]))",
    "a list of pairs": "[('fc.weight', (5, 3)), ('s', ())]",
    "an ordered dict": "OrderedDict([('fc.weight', torch.Size([5, 3])), ('s', torch.Size([]))])",
    "a dict": "{'fc.weight': (5, 3), 's': ()}",
    "mindspore": (
        "Parameter (name=fc.weight, shape=(5, 3), dtype=Float32, requires_grad=True)\n"
        "Parameter (name=s, shape=(), dtype=Int64, requires_grad=False)"
    ),
    "a list of mindspore": (
        "[Parameter (name=fc.weight, shape=(5, 3), dtype=Float32, requires_grad=True), "
        "Parameter (name=s, shape=(), dtype=Int64, requires_grad=False)]"
    ),
}


@pytest.mark.parametrize("text", PRINTED.values(), ids=PRINTED)
def test_every_usual_printing(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    found = shapes.read(tmp_path / "list.txt").tensors
    assert {name: tensor.shape for name, tensor in found.items()} == {"fc.weight": (5, 3), "s": ()}
    told = "float32" in text.lower()
    assert found["fc.weight"].dtype_known is told


SPACED = {
    "tuples": "my fc.weight (5, 3)\ns ()",
    "quoted": "'my fc.weight': torch.Size([5, 3])\n's': torch.Size([])",
    "arrows": "my fc.weight -> [5, 3] float32\ns -> []",
    "pairs": "('my fc.weight', torch.Size([5, 3]))\n('s', torch.Size([]))",
    "a dict": "{'my fc.weight': (5, 3), 's': ()}",
    "mindspore": "Parameter (name=my fc.weight, shape=(5, 3), dtype=Float32)\n"
    "Parameter (name=s, shape=(), dtype=Int64)",
}


@pytest.mark.parametrize("text", SPACED.values(), ids=SPACED)
def test_names_with_spaces(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    found = shapes.read(tmp_path / "list.txt").tensors
    shown = {name: tensor.shape for name, tensor in found.items()}
    assert shown == {"my fc.weight": (5, 3), "s": ()}


@pytest.mark.parametrize(
    "text", ["a fine page 3", "see (3) of (4)", "(fc): Linear (3)", "a, b (3)\n[3]"]
)
def test_text_is_no_list(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ContainerError, match="not a list of parameters"):
        shapes.read(tmp_path / "list.txt")


def test_what_the_frameworks_print(tmp_path):
    nn = pytest.importorskip("mindspore").nn
    cell = nn.SequentialCell(nn.Dense(3, 5), nn.BatchNorm1d(5))
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    lines = {
        "ms": "\n".join(str(p) for p in cell.get_parameters()),
        "pt": "\n".join(f"{name} {value.shape}" for name, value in module.state_dict().items()),
    }
    for name, text in lines.items():
        (tmp_path / name).write_text(text)
    expected = {p.name: p.shape for p in cell.get_parameters()}
    assert {n: t.shape for n, t in shapes.read(tmp_path / "ms").tensors.items()} == expected
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert {n: t.shape for n, t in shapes.read(tmp_path / "pt").tensors.items()} == expected


@pytest.mark.parametrize(
    "text",
    [
        "{}{",
        "what is this (1, 2) here",
        '{"a": "b"}',
        '{"a": [1], "b": "c"}',
        '{"a": [-1]}',
        "{'a': (1,), 'b': what}",
        "a (1, 2)\nand so on",
        "a float33 (3,)",
        f"Parameter (name=a, shape=({'9' * 5000},))",
        f"{{'a': ({'9' * 5000},)}}",
        "Parameter (name=a,b, shape=(2,), dtype=Float32)\nParameter (name=c, shape=(2,))",
        "\x00\xff",
        "",
    ],
)
def test_what_is_no_list_of_parameters(tmp_path, text):
    (tmp_path / "list").write_text(text)
    with pytest.raises(ContainerError):
        shapes.read(tmp_path / "list")


def test_a_list_of_nothing_but_beginnings(tmp_path):
    (tmp_path / "list").write_text("Parameter (name=" * 30_000)  # minutes, were each read on
    with pytest.raises(ContainerError):
        shapes.read(tmp_path / "list")


def test_a_name_twice_and_a_dtype_of_nobody(tmp_path):
    for text in ("a (1, 2)\na (3,)", '{"a": [1, 2], "a": [3]}'):
        (tmp_path / "list").write_text(text)
        with pytest.raises(ContainerError, match=r"a: stands twice .* \(1, 2\) and \(3,\)"):
            shapes.read(tmp_path / "list")
    for dtype in ("float33", "float32,float32", "datetime64", "str", "object"):
        (tmp_path / "list").write_text(f'{{"a": {{"shape": [1], "dtype": "{dtype}"}}}}')
        with pytest.raises(ContainerError, match=f"a: no dtype is called {dtype}"):
            shapes.read(tmp_path / "list")
    (tmp_path / "list").write_text('{"schema": "ckptconv-report-1", "layers": []}')
    with pytest.raises(ContainerError, match="the report of a conversion; try restore="):
        shapes.read(tmp_path / "list")
