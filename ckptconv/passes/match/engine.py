"""The rules by which a module of the source is paired with one of the target.

Forced is what has one reading, given that a module keeps its shapes:

1. what the user says (``--map``);
2. in a group of equal structure, the names of both sides are the same set, be it with ``_``
   for dots where the other side has none, as in Keras. Renumbering keeps the
   order of layers, and an increasing map of a set of numbers onto itself is the identity; so equal
   sets are equal names, and sets that only overlap (``rnn1, rnn2`` and ``rnn0, rnn1``) prove
   nothing about any of their members;
3. one common change of names makes all the rest fit (``names``);
4. the only module of its structure on either side, unless its name is another module's there;
5. both networks were run and called the modules in question in one order.

All else is proposed in the order of both sides, never done.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ckptconv.errors import DialectError
from ckptconv.passes.match.doubts import closest, doubts
from ckptconv.passes.match.lacking import Rest
from ckptconv.passes.match.names import common_change, crossings
from ckptconv.passes.match.plan import Entry, Plan
from ckptconv.passes.match.structure import Group, Module, groups
from ckptconv.spelling import option

Order = tuple[Sequence[str], Sequence[str]]
"""Paths of modules in the order in which each side called them; repeated for repeated calls."""


def match(
    source: Sequence[Module],
    target: Sequence[Module],
    *,
    said: Mapping[str, str] | None = None,
    called: Order | None = None,
) -> Plan:
    """Return the plan for two networks.

    Args:
        source, target: the modules that hold parameters, in the order of each side.
        said: source path → target path, by the user.
        called: what running both with equal inputs called.

    Raises:
        DialectError: ``said`` names a module that is not there, or one of other shapes.
    """
    work = _Work(source, target)
    work.say(said or {})
    work.leave_copies()
    for rule in (_same_names, _same_without_dots, _common_change, _only_one):
        rule(work)
    if called is not None:
        _order_of_calls(work, called)
    return work.plan()


@dataclass
class _Work:
    """What is settled, and the groups that are open still."""

    source: Sequence[Module]
    target: Sequence[Module]
    forced: list[Entry] = field(default_factory=list)
    open: list[Group] = field(default_factory=list)
    alone: list[Group] = field(default_factory=list)

    def say(self, said: Mapping[str, str]) -> None:
        sources = {module.path: module for module in self.source}
        targets = {module.path: module for module in self.target}
        for old, new in said.items():
            if new not in targets:
                raise DialectError(
                    f"{option('map')}: the target has no such module",
                    tensor=new,
                    hint=" or ".join(closest(new, list(targets))) or None,
                )
            if not sources[old].fits(targets[new]):
                raise DialectError(
                    f"{option('map')}: {old} cannot be {new}",
                    expected=targets[new].describe(),
                    found=sources[old].describe(),
                )
            self.forced.append(Entry(old, new, "the map says so"))
        taken = set(said.values())
        for group in groups(
            [m for m in self.source if m.path not in said],
            [m for m in self.target if m.path not in taken],
        ):
            (self.open if group.source and group.target else self.alone).append(group)

    def leave_copies(self) -> None:
        """Set aside tied copies that the other side has no room for: their values arrive by those
        that stay."""
        left = [Counter(t for m in side for t in m.tensors) for side in (self.source, self.target)]
        for group, side in itertools.product((*self.alone, *self.open), (0, 1)):
            pair = group.source, group.target
            mine, others, count = pair[side], pair[1 - side], left[side]
            names = {module.path for module in others}
            for module in [m for m in mine if m.path not in names][::-1]:
                is_copy = module.tensors and all(count[t] > 1 for t in module.tensors)
                if is_copy and len(mine) > len(others):
                    mine.remove(module)
                    count.subtract(module.tensors)
                    old, new = (None, module.path) if side else (module.path, None)
                    self.forced.append(Entry(old, new, "the same tensors as another module"))

    def settle(self, which: Callable[[Group], bool], pairs: Mapping[str, str], why: str) -> None:
        """Force pairs of whole groups."""
        for group in filter(which, self.open):
            self.forced += [Entry(m.path, pairs[m.path], why) for m in group.source]
        self.open = [group for group in self.open if not which(group)]

    def plan(self) -> Plan:
        proposed: list[Entry] = []
        ambiguous: list[Entry] = []
        for group in self.open:
            if group.balanced and group.admits(dict(zip(*group.paths, strict=True))):
                proposed += _by_order(group)
            else:
                ambiguous += _undecided(group)
        lost = [module for group in self.alone for module in group.source]
        empty = [module for group in self.alone for module in group.target]
        left, right = Rest("source", lost), Rest("target", empty)
        impossible = [
            *(Entry(m.path, None, right.why_none(m)) for m in lost),
            *(Entry(None, m.path, left.why_none(m)) for m in empty),
        ]
        places = {module.path: i for i, module in enumerate(self.source)}
        last = len(places)

        def place(entry: Entry) -> int:
            return last if entry.source is None else places[entry.source]

        found = (self.forced, proposed, ambiguous, impossible)
        first, second, third, fourth = (tuple(sorted(e, key=place)) for e in found)
        return Plan(first, second, third, fourth)


def _same_names(work: _Work) -> None:
    own = {module.path: module.path for module in work.source}

    def same(group: Group) -> bool:
        source, target = map(set, group.paths)
        return source == target and group.admits(own)

    work.settle(same, own, "the same names")


def _same_without_dots(work: _Work) -> None:
    pairs: dict[str, str] = {}
    for group in work.open:
        sides = [{path.replace(".", "_"): path for path in paths} for paths in group.paths]
        dotless = any(plain.keys() == {*plain.values()} for plain in sides)
        alone = all(len(s) == len(p) for s, p in zip(sides, group.paths, strict=True))
        if dotless and alone and sides[0].keys() == sides[1].keys():
            pairs |= {path: sides[1][name] for name, path in sides[0].items()}
    work.settle(lambda group: group.admits(pairs), pairs, "the same names, with _ for dots")


def _common_change(work: _Work) -> None:
    """Force all that is open, or what is not settled by structure alone, by one change of names."""
    only = [group for group in work.open if _is_only(group)]
    for rest in (work.open, [group for group in work.open if group not in only]):
        if sum(len(group.source) for group in rest) < 2:
            return
        change = common_change(rest, _outside(work, rest))
        if change is not None:
            settled = {id(group) for group in rest}
            work.settle(lambda group: id(group) in settled, change.paths, change.why)  # noqa: B023
            return


def _outside(work: _Work, inside: Sequence[Group]) -> tuple[set[str], set[str]]:
    source = {module.path for group in inside for module in group.source}
    target = {module.path for group in inside for module in group.target}
    return {m.path for m in work.source} - source, {m.path for m in work.target} - target


def _is_only(group: Group) -> bool:
    return len(group.source) == len(group.target) == 1


def _only_one(work: _Work) -> None:
    crossing = crossings(work.source, work.target)
    alone = {
        id(group): (group.source[0].path, group.target[0].path)
        for group in work.open
        if _is_only(group)
    }
    forced = {key: pair for key, pair in alone.items() if not crossing(*pair)}
    why = "the only one of its structure on either side"
    work.settle(lambda group: id(group) in forced, dict(forced.values()), why)


def _order_of_calls(work: _Work, called: Order) -> None:
    """Force what is open where both sides called its modules in one sequence of structures."""
    balanced = [group for group in work.open if group.balanced]
    pairs: dict[str, str] = {}
    numbers = [
        {m.path: i for i, group in enumerate(balanced) for m in getattr(group, side)}
        for side in ("source", "target")
    ]
    runs = [[path for path in paths if path in n] for paths, n in zip(called, numbers, strict=True)]
    sequences = [[n[path] for path in run] for run, n in zip(runs, numbers, strict=True)]
    if sequences[0] != sequences[1]:
        return
    if any(pairs.setdefault(old, new) != new for old, new in zip(*runs, strict=True)):
        return
    if len(set(pairs.values())) == len(pairs):
        settled = {id(group) for group in balanced if group.admits(pairs)}
        why = "both networks call them in the same order"
        work.settle(lambda group: id(group) in settled, pairs, why)


def _by_order(group: Group) -> Iterable[Entry]:
    count = len(group.source)
    why = (
        f"order among {count} of this structure"
        if count > 1
        else "the only one of its structure, but its name is another's"
    )
    for module, other, doubt in zip(group.source, group.target, doubts(*group.paths), strict=True):
        yield Entry(module.path, other.path, why, doubt)


def _undecided(group: Group) -> Iterable[Entry]:
    why = f"{len(group.source)} of this structure in the source, {len(group.target)} in the target"
    sources, targets = group.paths
    for place, path in enumerate(sources):
        yield Entry(path, None, why, candidates=closest(path, targets, place))
    for place, path in enumerate(targets):
        yield Entry(None, path, why, candidates=closest(path, sources, place))
