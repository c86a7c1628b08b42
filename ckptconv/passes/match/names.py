"""One common change of names that makes everything fit, found only where there is one.

Names change in a systematic way when a network is ported: all get or lose a prefix, a segment is
inserted, a word becomes another word everywhere. Numbers are never changed here: 1, 2 → 0, 1 and a
layer that was left out look the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptconv.passes.match.structure import Group, Module
from ckptconv.passes.match.words import Parts, Sides, dictionary, translated


class Change(NamedTuple):
    """A change of names: source path → target path of all modules, what it is, words changed."""

    paths: Mapping[str, str]
    why: str
    words: int


def common_change(groups: Sequence[Group], others: tuple[set[str], set[str]]) -> Change | None:
    """Return the change of names that pairs all modules of all groups, if there is just one.

    Groups with a name on both sides (``bn, bn2`` and ``bn1, bn2``) take part, but prove nothing:
    the change must be visible where no names cross. Nor may it take a module away from its own
    name where that is one of ``others``.

    Args:
        others: paths of the modules of either side that are in none of the groups.
    """
    if not all(g.balanced for g in groups) or not any(g.clean for g in groups):
        return None
    names, prefixes = _without_prefixes(groups)
    found: list[Change] = []
    for candidate, segment in _variants(names):
        pairs = _pairs(candidate, {})
        words = {} if pairs else dictionary(candidate)
        pairs = pairs or (_pairs(candidate, words) if words else None)
        if not pairs or _takes_away(pairs, prefixes, others):
            continue
        if all(group.admits(pairs) for group in groups):
            changes = [_prefix_text(*prefixes), segment, *map(_word_text, words.items())]
            why = ", ".join(filter(None, changes))
            found.append(Change(pairs, f"all names fit by {why}", len(words)))
    readings = {tuple(sorted(change.paths.items())) for change in found}
    return min(found, key=lambda change: change.words) if len(readings) == 1 else None


def common_prefix(paths: Sequence[str]) -> str:
    """Return the segments with which all paths begin, with a dot at the end, or ``""``."""
    return _text(_shared([_split(path) for path in paths]))


def crossings(source: Sequence[Module], target: Sequence[Module]) -> Callable[[str, str], bool]:
    """Return whether a source name is another target's, or a target name another source's.

    Names are held against each other as they are and without each side's common prefix.
    """
    sides = [[module.path for module in side] for side in (source, target)]
    prefixes = [common_prefix(paths) for paths in sides]
    plain = [
        {path.removeprefix(prefix) for path in paths}
        for paths, prefix in zip(sides, prefixes, strict=True)
    ]
    full = [set(paths) for paths in sides]

    def crosses(old: str, new: str) -> bool:
        bare = old.removeprefix(prefixes[0]), new.removeprefix(prefixes[1])
        return (old != new and (old in full[1] or new in full[0])) or (
            bare[0] != bare[1] and (bare[0] in plain[1] or bare[1] in plain[0])
        )

    return crosses


def _without_prefixes(groups: Sequence[Group]) -> tuple[list[Sides], tuple[Parts, Parts]]:
    sides = [[_split(m.path) for g in groups for m in getattr(g, s)] for s in ("source", "target")]
    first, second = (_shared(side) for side in sides)
    names: list[Sides] = [
        (
            {m.path: _split(m.path)[len(first) :] for m in group.source},
            {m.path: _split(m.path)[len(second) :] for m in group.target},
        )
        for group in groups
    ]
    while first and second and first[-1] == second[-1]:
        first, second = first[:-1], second[:-1]
    return names, (first, second)


def _variants(names: list[Sides]) -> Iterator[tuple[list[Sides], str]]:
    """Yield the names as they are or, where one side has more segments, without one of them."""
    counts = [
        Counter(part for group in names for parts in group[side].values() for part in parts)
        for side in (0, 1)
    ]
    more = counts[0].total() - counts[1].total()
    if not more:
        yield names, ""
        return
    side, verb = (0, "dropped") if more > 0 else (1, "inserted")
    for part, count in counts[side].items():
        if count == abs(more) and not part.isdigit():
            yield [_without(part, group, side) for group in names], f"the {verb} segment {part!r}"


def _without(part: str, group: Sides, side: int) -> Sides:
    kept = list(group)
    kept[side] = {
        path: tuple(other for other in parts if other != part)
        for path, parts in group[side].items()
    }
    return kept[0], kept[1]


def _pairs(names: list[Sides], words: Mapping[str, str]) -> dict[str, str] | None:
    """Return source path → target path where translated names are the same sets, else None."""
    found: dict[str, str] = {}
    for group in names:
        source, target = group
        places = {parts: path for path, parts in target.items()}
        meant = {path: translated(parts, words) for path, parts in source.items()}
        if len(places) < len(target) or set(meant.values()) != set(places):
            return None
        found |= {path: places[parts] for path, parts in meant.items()}
    return found


def _takes_away(
    pairs: Mapping[str, str], prefixes: tuple[Parts, Parts], others: tuple[set[str], set[str]]
) -> bool:
    """Tell whether a name, but for the prefix, is that of another module of the other side."""
    old, new = (_text(parts) for parts in prefixes)

    def away(one: str, other: str, gone: str, come: str, there: set[str]) -> bool:
        moved = come + one.removeprefix(gone)
        return one != other and (one in there or (moved != other and moved in there))

    return any(
        away(one, other, old, new, others[1]) or away(other, one, new, old, others[0])
        for one, other in pairs.items()
    )


def _shared(names: Sequence[Parts]) -> Parts:
    """Return the longest common beginning of all names."""
    if not names:
        return ()
    low, high = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), None)
    return low[: min(len(low), len(high)) if same is None else same]


def _split(path: str) -> Parts:
    return tuple(path.split(".")) if path else ()


def _word_text(pair: tuple[str, str]) -> str:
    return f"{pair[0]!r} → {pair[1]!r}"


def _text(prefix: Parts) -> str:
    return "".join(f"{part}." for part in prefix)


def _prefix_text(source: Parts, target: Parts) -> str:
    old, new = _text(source), _text(target)
    if old and new:
        return f"the prefix {old!r} → {new!r}"
    return f"the prefix {(old or new)!r}" if old or new else ""
