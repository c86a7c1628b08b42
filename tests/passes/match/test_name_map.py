"""--map: modules, parameters, slices, transposes and sums, all at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv.errors import CkptconvError
from ckptconv.passes.name_map import apply_map


def graph_of(**arrays):
    rng = np.random.default_rng(0)
    state = {name.replace("__", "."): rng.normal(size=shape) for name, shape in arrays.items()}
    return ckptconv.from_state_dict(state, "torch"), state


def arrays(graph, table):
    return ckptconv.to_state_dict(apply_map(graph, table), "torch")


def test_modules_move_with_all_below_them_and_can_change_places():
    graph, state = graph_of(a__fc__weight=(2, 3), a__fc__bias=(2,), b__weight=(4, 5), c=(3,))
    found = arrays(graph, {"a": "b", "b": "x.a", "c": "d"})
    assert list(found) == ["b.fc.weight", "b.fc.bias", "x.a.weight", "d"]
    np.testing.assert_array_equal(found["x.a.weight"], state["b.weight"])


def test_the_longest_entry_decides_and_the_root_has_a_name():
    graph, _ = graph_of(weight=(2, 3), bias=(2,), a__x__weight=(2, 2), a__y__weight=(2, 2))
    found = arrays(graph, {"a": "z", "a.x": "q", "": "top"})
    assert list(found) == ["top.weight", "top.bias", "q.weight", "z.y.weight"]


def test_a_cell_as_two_linear_layers():
    cell = torch.nn.LSTMCell(3, 5)
    table = {
        f"rnn.{kind}_{side}": f"rnn.linear{number}.{kind}"
        for number, side in enumerate(("ih", "hh"), 1)
        for kind in ("weight", "bias")
    }
    graph = ckptconv.from_torch(torch.nn.ModuleDict({"rnn": cell}))
    found = arrays(graph, table)
    assert sorted(found) == [f"rnn.linear{n}.{k}" for n in (1, 2) for k in ("bias", "weight")]
    np.testing.assert_array_equal(found["rnn.linear2.weight"], cell.weight_hh.detach())


def test_packed_weights_by_slices():
    graph, state = graph_of(attn__qkv__weight=(6, 4), attn__qkv__bias=(6,))
    table = {
        f"attn.qkv.{kind}[{2 * i}:{2 * i + 2}]": f"attn.{name}.{kind}"
        for i, name in enumerate("qkv")
        for kind in ("weight", "bias")
    }
    found = arrays(graph, table)
    np.testing.assert_array_equal(found["attn.k.weight"], state["attn.qkv.weight"][2:4])
    np.testing.assert_array_equal(found["attn.v.bias"], state["attn.qkv.bias"][4:])
    back = {right: left for left, right in table.items()}
    again = arrays(ckptconv.from_state_dict(found, "torch"), back)
    for name, value in state.items():
        np.testing.assert_array_equal(again[name], value)


def test_a_dynamic_rnn_of_one_matrix_and_one_bias():
    h, n = 5, 3
    lstm = torch.nn.LSTM(n, h)
    order = {"i": 0, "g": 2, "f": 1, "o": 3}  # where torch has the gates of i, g, f, o
    table = {"rnn.bias_ih_l0 + rnn.bias_hh_l0": "rnn.b"}
    for to, at in enumerate(order.values()):
        rows, columns = f"{at * h}:{at * h + h}", f"{to * h}:{to * h + h}"
        table[f"rnn.weight_ih_l0[{rows}].T"] = f"rnn.w[0:{n}, {columns}]"
        table[f"rnn.weight_hh_l0[{rows}].T"] = f"rnn.w[{n}:, {columns}]"
    graph = ckptconv.from_torch(torch.nn.ModuleDict({"rnn": lstm}))
    found = arrays(graph, table)
    p = {name: value.detach().numpy() for name, value in lstm.named_parameters()}
    ih, hh = (
        p[f"weight_{side}_l0"].reshape(4, h, -1)[list(order.values())] for side in ("ih", "hh")
    )
    whole = np.concatenate([ih, hh], axis=2).reshape(4 * h, n + h).T
    np.testing.assert_array_equal(found["rnn.w"], whole)
    np.testing.assert_array_equal(found["rnn.b"], p["bias_ih_l0"] + p["bias_hh_l0"])


WRONG = {
    "no such module": ({"nope": "x"}, "nope: map: matches no module and no parameter"),
    "a close one": ({"fc.weigth": "x"}, "try fc.weight"),
    "a slice outside": ({"fc.weight[0:9]": "x"}, r"fc.weight\[0:9\].* within \(6, 4\)"),
    "no slice": ({"fc.weight[0]": "x"}, r"not a slice.*\[0:64, 32:\]"),
    "overlapping sources": (
        {"fc.weight[0:4]": "x", "fc.weight[3:6]": "y", "fc.bias": "z"},
        r"fc.weight: .* \[0:4, 0:4\] and \[3:6, 0:4\] overlap",
    ),
    "overlapping targets": (
        {"fc.weight[0:3]": "x[0:3]", "fc.weight[3:6]": "x[2:5]", "fc.bias": "z"},
        "x: map: .*overlap",
    ),
    "a part of a tensor left": ({"fc.weight[0:5]": "x", "fc.bias": "z"}, "where 4 of its values"),
    "a parameter left": (
        {"fc.weight": "x"},
        r'fc.bias: no entry .* try drop=..unused.*; with "fc.bias" = "unused" in the map',
    ),
    "a hole in the target": (
        {"fc.weight[0:3]": "x[0:3]", "fc.weight[3:6]": "x[4:7]", "fc.bias": "z"},
        "nothing fills 4 of the 28 values",
    ),
    "a piece of another shape": (
        {"fc.weight[0:3]": "x[0:3]", "fc.weight[3:6]": "x[3:7]", "fc.bias": "z"},
        r"a piece of \(3, 4\) in a place of \(4, 4\)",
    ),
    "a sum of unequal parts": ({"fc.weight + fc.bias": "x"}, "a sum of unequal parts"),
    "turned on the right": ({"fc.weight": "x.T", "fc.bias": "z"}, r"x.T: .* stand on the left"),
    "a sum on the right": ({"fc.weight": "x + y", "fc.bias": "z"}, r"x \+ y: map: not a name"),
    "a slice of a module": ({"fc": "x[0:2]"}, r"x\[0:2\]: map: not a name"),
    "an empty step": ({"fc": "net..x"}, r"net\.\.x: map: not a name"),
    "no name": ({"fc.weight": "", "fc.bias": "z"}, "an empty name"),
}


@pytest.mark.parametrize(("table", "message"), WRONG.values(), ids=WRONG)
def test_entries_that_cannot_be_meant(table, message):
    graph, _ = graph_of(fc__weight=(6, 4), fc__bias=(6,))
    with pytest.raises(CkptconvError, match=message):
        apply_map(graph, table)


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_file_of_entries(tmp_path, suffix):
    torch.save({"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2)}, tmp_path / "m.pt")
    table = {"a.weight[0:1]": "b", "a.weight[1:2]": "c", "a.bias": "d"}
    lines = "\n".join(f"'{old}' = '{new}'" for old, new in table.items())
    (tmp_path / f"map.{suffix}").write_text(lines if suffix == "toml" else json.dumps(table))
    graph = ckptconv.load(tmp_path / "m.pt", map=tmp_path / f"map.{suffix}")
    assert [layer.path for layer in graph] == ["b", "c", "d"]
