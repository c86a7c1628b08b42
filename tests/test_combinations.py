"""Random combinations of options: each undoes what was done to the source of a plain conversion.

The oracle is the conversion of the plain source, which the real frameworks judge elsewhere: both
targets have the same names, dtypes and bits.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

import ckptconv

GATES = {"LSTM": "ifgo", "GRU": "rzn"}
SUFFIXES = {
    "torch": (".pt", ".safetensors"),
    "mindspore": (".ckpt", ".safetensors"),
    "mint": (".ckpt",),
    "keras": (".weights.h5", ".h5"),
}
SAID = ("Embedding", "BatchNorm2d", "Linear", "Conv2d")
OTHER = {"LSTM": ("iofg", "ifog", "figo"), "GRU": ("zrn", "nrz")}


@dataclass
class Case:
    """A plain network, the same as a source has it, and the options between the two.

    Attributes:
        plain, source: path → (kind, parameters).
    """

    rng: random.Random
    plain: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def on(self, chance):
        return self.rng.random() < chance

    def change(self, path, function):
        """Change the gates of a source's layer: (name, blocks) → blocks."""
        kind, params = self.source[path]
        parts = {n: function(n, list(t.chunk(len(GATES[kind])))) for n, t in params.items()}
        self.source[path] = kind, {name: torch.cat(blocks) for name, blocks in parts.items()}

    def rename(self, function):
        self.source = {function(path): entry for path, entry in self.source.items()}


def fill(case):
    """Values are few multiples of 1/64, so that sums of them are exact in bfloat16 too."""
    generator = torch.Generator().manual_seed(case.rng.randrange(1 << 30))
    dtype = case.rng.choice([torch.float32] * 3 + [torch.float16, torch.bfloat16])

    def some(*shape):
        return (torch.randint(-64, 65, shape, generator=generator) / 64).to(dtype)

    def recurrent(kind, size, levels):
        gates, params = len(GATES[kind]), {}
        for level, way in itertools.product(range(levels), ("", "_reverse")[:directions]):
            taken = directions * 4 if level else size
            params[f"weight_ih_l{level}{way}"] = some(gates * 4, taken)
            params[f"weight_hh_l{level}{way}"] = some(gates * 4, 4)
            params[f"bias_ih_l{level}{way}"] = some(gates * 4)
            params[f"bias_hh_l{level}{way}"] = some(gates * 4)
        return kind, params

    directions, levels = case.rng.choice([1, 2]), case.rng.choice([1, 2])
    case.plain = {"emb": ("Embedding", {"weight": some(7, 3)})}
    if case.on(0.8):
        case.plain["enc.lstm"] = recurrent("LSTM", 3, levels)
    if case.on(0.8):
        case.plain["enc.gru"] = recurrent("GRU", 8, 3 - levels)
    if case.on(0.5):
        case.plain["conv"] = "Conv2d", {"weight": some(3, 2, 2, 2), "bias": some(3)}
        names = ("weight", "bias", "running_mean", "running_var")
        case.plain["bn"] = "BatchNorm2d", {name: some(3).abs() + 0.5 for name in names}
    case.plain["head"] = "Linear", {"weight": some(5, 4), "bias": some(5)}
    case.source = dict(case.plain)


def other_gates(case):
    orders = dict(GATES)
    found = {path: kind for path, (kind, _) in case.source.items() if kind in GATES}
    if found and case.on(0.4):
        orders |= {kind: case.rng.choice(OTHER[kind]) for kind in found.values()}
        case.options["gates"] = " ".join(orders[kind] for kind in found.values())
        for path, kind in found.items():
            places = [GATES[kind].index(letter) for letter in orders[kind]]
            case.change(path, lambda _, blocks, at=places: [blocks[i] for i in at])
    if "enc.lstm" in found and case.on(0.4):
        case.options["forget_bias"] = more = case.rng.choice([0.5, 1.0])
        place = orders["LSTM"].index("f")
        case.change("enc.lstm", lambda name, blocks: [
            block - more if i == place and name.startswith("bias_ih") else block
            for i, block in enumerate(blocks)
        ])  # fmt: skip
    if "enc.gru" in found and case.on(0.4):
        case.options["z_convention"] = True
        place = orders["GRU"].index("z")
        case.change("enc.gru", lambda _, blocks: [
            -block if i == place else block for i, block in enumerate(blocks)
        ])  # fmt: skip


def other_stacks(case):
    for path in ("enc.lstm", "enc.gru"):
        if path not in case.source or "weight_ih_l1" not in case.source[path][1]:
            continue
        if case.on(0.4):
            case.source = levels_of(case.source, path, "_part")
            case.options.setdefault("fuse", {})[path] = [f"{path}_part0", f"{path}_part1"]
        elif case.on(0.5):
            case.plain = levels_of(case.plain, path, "_")
            case.options.setdefault("split", []).append(path)


def levels_of(network, path, joint):
    made = {}
    for other, (kind, params) in network.items():
        for level in (0, 1) if other == path else ():
            own = {
                n.replace(f"_l{level}", "_l0"): t for n, t in params.items() if f"_l{level}" in n
            }
            made[f"{path}{joint}{level}"] = kind, own
        if other != path:
            made[other] = kind, params
    return made


def other_layers(case):
    if "conv" in case.source and case.on(0.5):
        (_, conv), (_, norm) = case.plain["conv"], case.plain["bn"]
        case.plain["conv"] = "Conv2d", {"weight": conv["weight"]}
        less = norm["running_mean"] - conv["bias"]
        case.plain["bn"] = "BatchNorm2d", {**norm, "running_mean": less}
        case.options["fold_bias"] = {"conv": "bn"}
    if case.on(0.3):
        case.source["junk.x"] = "Linear", {"weight": torch.ones(2, 2), "bias": torch.ones(2)}
        case.options["drop"] = [case.rng.choice(["junk", "junk.x"])]


def other_names(case):
    rules = []
    if case.on(0.2):
        fuse, split = (case.options.get(name, ()) for name in ("fuse", "split"))
        if fuse:
            case.options["fuse"] = {
                f"old.{new}": [f"old.{part}" for part in parts] for new, parts in fuse.items()
            }
        if split:
            case.options["split"] = [f"old.{path}" for path in split]
        case.rename("old.{}".format)
        rules.append((r"^old\.", ""))
    if case.on(0.3):
        case.rename(lambda path: path.replace("head", "tail"))
        rules.append((r"\btail\b", "head"))
    if case.on(0.3):
        case.rename(lambda path: path.replace("emb", "words"))
        case.options["map"] = {"words": "emb"}
    if rules:
        case.options["rename"] = rules


def saved(network, path, case=None):
    state = {f"{at}.{name}": t for at, (_, params) in network.items() for name, t in params.items()}
    if case is not None and case.on(0.3):
        state = {"model": state, "epoch": 3}
        case.options["select"] = "model"
    torch.save(state, path)
    return {at: kind for at, (kind, _) in network.items() if kind in SAID}


def held(path):
    return {name: tensor.numpy() for name, tensor in ckptconv.inspect(path).tensors.items()}


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_options_undo_what_was_done_to_the_source(tmp_path, first):
    compared = 0
    for seed in range(first, first + 20):
        case = Case(random.Random(seed))
        for step in (fill, other_gates, other_stacks, other_layers, other_names):
            step(case)
        to = case.rng.choice([*SUFFIXES])
        suffix = case.rng.choice(SUFFIXES[to])
        got, want = (tmp_path / f"{name}{seed}{suffix}" for name in ("got", "want"))
        dtype = case.rng.choice([None, "float32", "float64", "float16"])
        plain = {"kinds": saved(case.plain, tmp_path / "plain.pt"), "dtype": dtype}
        kinds = saved(case.source, tmp_path / "source.pt", case)
        if case.on(0.3):
            case.options["check"] = True
        case.options |= {"kinds": kinds, "dtype": dtype}
        try:
            ckptconv.convert(tmp_path / "plain.pt", want, to=to, **plain)
        except ckptconv.CkptconvError as error:  # bfloat16 in Keras's old layout
            with pytest.raises(ckptconv.CkptconvError, match="loads no bfloat16"):
                ckptconv.convert(tmp_path / "source.pt", got, to=to, **case.options)
            assert "loads no bfloat16" in str(error)  # noqa: PT017
            continue
        ckptconv.convert(tmp_path / "source.pt", got, to=to, **case.options)
        found, expected = held(got), held(want)
        assert [*found] == [*expected], (seed, case.options)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype, (seed, name)
            assert np.array_equal(found[name], array), (seed, name, case.options)
        compared += 1
    assert compared > 15
