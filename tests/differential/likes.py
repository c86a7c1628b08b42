"""Networks beside a target that calls the same layers otherwise, as people rename and rebuild them.

What each module became is known. ``match`` may call nothing else forced, and ``--like`` writes
each tensor where it belongs or nothing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import ckptconv
from ckptconv import CkptconvError
from tests.differential.outcome import Case, Generator, Outcome, Result
from tests.differential.renames import CHANGES, CONTAINERS, LEAVES, LISTS, Path_
from tests.differential.targets import SUFFIX, loaded

Names = dict[Path_, Path_]
"""Path in the source → path in the target, in its order."""
Arrays = dict[str, np.ndarray]
_KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "Linear": nn.Linear,
    "Linear without bias": lambda a, b: nn.Linear(a, b, bias=False),
    "LSTM": nn.LSTM,
    "GRU": lambda a, b: nn.GRU(a, b, bidirectional=True),
    "LSTMCell": nn.LSTMCell,
    "Embedding": lambda a, b: nn.Embedding(a + 7, b),
    "LayerNorm": lambda _, b: nn.LayerNorm(b),
    "BatchNorm1d": lambda _, b: nn.BatchNorm1d(b),
    "Conv1d": lambda a, b: nn.Conv1d(a, b, 3),
    "Conv2d": lambda a, b: nn.Conv2d(a, b, (3, 2)),
}
_TOLD_BY_SHAPES = ("LSTM", "GRU", "LSTMCell")
_SIDES = "the source", "the target"
_SIZES = (4, 4, 4, 6)


class Drawn(NamedTuple):
    """Two networks, and what of them is known.

    Attributes:
        tied: two modules of equal values.
        shared: the sides that hold these as the same tensors.
    """

    kinds: dict[Path_, tuple[str, int, int]]
    names: Names
    lacking: dict[Path_, str]
    tied: tuple[Path_, ...]
    shared: tuple[str, ...]
    target: str
    ordered: bool
    told: bool
    did: tuple[str, ...]

    @property
    def framework(self) -> str:
        return self.target.split()[0]

    def __str__(self) -> str:
        pairs = ", ".join(f"{'.'.join(old)}→{'.'.join(new)}" for old, new in self.names.items())
        lacking = "".join(f"; {side} lacks {'.'.join(p)}" for p, side in self.lacking.items())
        if self.tied:
            tied = " and ".join(".".join(path) for path in self.tied)
            lacking += f"; {tied} are one in {' and '.join(self.shared)}"
        return f"{pairs}{lacking} ({'; '.join(self.did)}), to {self.target}, {self.ordered=}"


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:likes")
    kinds = dict(_tree(rng, (), rng.sample([*_KINDS], rng.randint(1, 4))))
    names, did = {path: path for path in kinds}, []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        change = rng.choice([*CHANGES])
        become = CHANGES[change](rng, [*names.values()])
        changed = {old: become(new) for old, new in names.items()}
        below = {new[:n] for new in changed.values() for n in range(len(new))}
        apart = len(set(changed.values())) == len(changed) and below.isdisjoint(changed.values())
        if changed != names and apart and not _permuted(kinds, changed):
            names, did = changed, [*did, change]
    ordered = rng.random() < 0.6
    if not ordered:
        names = dict(rng.sample([*names.items()], len(names)))
    few = rng.sample([*kinds], min(len(kinds) - 1, rng.choice((0, 0, 0, 1, 2))))
    side = rng.choice(_SIDES)  # of both sides, nobody could know that the rest is no pair
    lacking = dict.fromkeys(few, side)
    pairs = [pair for pair in itertools.combinations(kinds, 2) if len({*map(kinds.get, pair)}) == 1]
    tied = rng.choice(pairs) if pairs and rng.random() < 0.3 else ()
    if tied and len(kinds) > 2 and rng.random() < 0.5:
        lacking = dict.fromkeys(rng.sample(tied, rng.randint(1, 2)), side)
    shared = rng.choice(((_SIDES[0],), (_SIDES[1],), _SIDES))
    target = rng.choice(("keras", "torch", "torch list", "mindspore", "mindspore list"))
    target = "torch" if tied and rng.random() < 0.5 else target  # whose files keep what is tied
    told = rng.random() < 0.5
    return Drawn(kinds, names, lacking, tied, shared, target, ordered, told, tuple(did))


def _tree(
    rng: Random, at: Path_, of: list[str], depth: int = 0
) -> Iterator[tuple[Path_, tuple[str, int, int]]]:
    """Yield modules in the order in which a network would define them."""
    for leaf in rng.sample(LEAVES, rng.randint(1, 4)):
        yield (*at, leaf), (rng.choice(of), rng.choice(_SIZES), rng.choice(_SIZES))
    if depth > 1:
        return
    for name in rng.sample(CONTAINERS, rng.randint(0, 2)):
        yield from _tree(rng, (*at, name), of, depth + 1)
    if rng.random() < 0.4:
        name, block = rng.choice(LISTS), dict(_tree(rng, (), of, 2))
        for number in range(rng.randint(2, 4)):
            yield from (((*at, name, str(number), *path), kind) for path, kind in block.items())


def _permuted(drawn_kinds: dict[Path_, tuple[str, int, int]], names: Names) -> bool:
    """Tell whether equal names of one structure mean other modules: nobody could know."""
    for kind in set(drawn_kinds.values()):
        own = {old: new for old, new in names.items() if drawn_kinds[old] == kind}
        if own.keys() == set(own.values()) and any(old != new for old, new in own.items()):
            return True
    return False


def _state(drawn: Drawn, names: Names, side: str, seed: int) -> dict[str, torch.Tensor]:
    """Return the state_dict of the network under these names; the values depend on ``seed``."""
    made = {}
    for number, path in enumerate(drawn.kinds):
        kind, a, b = drawn.kinds[path]
        torch.manual_seed(seed * 1000 + number)
        made[path] = {n: torch.rand(v.shape) for n, v in _KINDS[kind](a, b).state_dict().items()}
    if drawn.tied:
        one, other = drawn.tied
        made[other] = {n: v if side in drawn.shared else v.clone() for n, v in made[one].items()}
    return {
        f"{'.'.join(names[p])}.{n}": v
        for p in names
        if drawn.lacking.get(p) != side
        for n, v in made[p].items()
    }


def _hints(drawn: Drawn, names: Names, side: str) -> dict[str, str]:
    there = [path for path in drawn.kinds if drawn.lacking.get(path) != side]
    told = {".".join(names[path]): drawn.kinds[path][0].split()[0] for path in there}
    return {path: kind for path, kind in told.items() if kind not in _TOLD_BY_SHAPES}


def _run(case: Case, tmp: Path) -> Outcome:
    drawn: Drawn = case.data
    right, like = _target(drawn, tmp)
    own = {path: path for path in drawn.kinds}
    options: dict[str, Any] = {"to": drawn.framework}
    options |= {"kinds": _hints(drawn, own, "the source")} if drawn.told else {}
    source = tmp / "source.pt"
    torch.save(_state(drawn, own, "the source", 1), source)
    plan = ckptconv.match(source, like, **options)
    wrong = _wrongly_forced(drawn, plan)
    if wrong:
        return Outcome(Result.SILENT, "a pair that is forced, and wrong", "\n".join(wrong))
    options["like"] = like
    try:
        found = _converted(source, tmp, options)
    except CkptconvError:
        return _in_order(drawn, source, tmp, options, right)
    copies = len(drawn.lacking) < len(drawn.tied) and drawn.lacking.keys() <= {*drawn.tied}
    if (drawn.lacking and not copies) or not _equal(found, right):
        return Outcome(Result.SILENT, "other tensors")
    return Outcome(Result.EQUAL)


def _in_order(drawn: Drawn, source: Path, tmp: Path, options: Any, right: Arrays) -> Outcome:
    """Let order decide, as the user may; it is right where the target has kept it."""
    try:
        found = _converted(source, tmp, {**options, "like_order": True})
    except CkptconvError as error:
        return Outcome(Result.REFUSED, "not all has a pair", str(error))
    if _equal(found, right) and not drawn.lacking:
        return Outcome(Result.NOTED)
    if drawn.ordered and not drawn.lacking:
        return Outcome(Result.SILENT, "an order that is not the target's")
    return Outcome(Result.NOTED, "the user is wrong")


def _target(drawn: Drawn, tmp: Path) -> tuple[Arrays, Path]:
    """Return the tensors that the target should get, and the target with others or as a list."""
    kinds, suffix = _hints(drawn, drawn.names, "the target"), SUFFIX[drawn.framework]
    made = []
    for seed in (1, 2):
        torch.save(_state(drawn, drawn.names, "the target", seed), tmp / "there.pt")
        made.append(tmp / f"there{seed}{suffix}")
        ckptconv.convert(tmp / "there.pt", made[-1], to=drawn.framework, kinds=kinds)
    right, like = loaded(made[0], drawn.framework), made[1]
    if drawn.target.endswith("list"):
        like = tmp / "there.json"
        like.write_text(json.dumps({name: value.shape for name, value in right.items()}))
    return right, like


def _converted(source: Path, tmp: Path, options: Any) -> Arrays:
    out = tmp / f"out{SUFFIX[options['to']]}"
    ckptconv.convert(source, out, **options)
    return loaded(out, options["to"])


def _equal(found: Arrays, right: Arrays) -> bool:
    return found.keys() == right.keys() and all(
        np.array_equal(found[name], right[name]) for name in right
    )


def _wrongly_forced(drawn: Drawn, plan: ckptconv.Plan) -> list[str]:
    there = drawn.names.keys() - drawn.lacking.keys()
    dot = "_" if drawn.framework == "keras" else "."  # Keras's layers have no paths
    truth = {".".join(old): {dot.join(drawn.names[old])} for old in there}
    if drawn.tied:  # of which each may be either, and one of which may be left out
        either = {None, *(dot.join(drawn.names[old]) for old in drawn.tied)}
        truth |= {".".join(old): either for old in drawn.tied}
    return [
        f"{entry.source} → {entry.target}, not {truth.get(entry.source)}: {entry.why}"
        for entry in plan.forced
        if entry.source is not None and entry.target not in truth.get(entry.source, {None})
    ]


GENERATOR = Generator(_draw, _run)
