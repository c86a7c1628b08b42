"""One dictionary of words that turns one side's names into the other's, if there is just one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

Parts = tuple[str, ...]
"""The segments of a name, or the words and numbers in it."""
Sides = tuple[Mapping[str, Parts], Mapping[str, Parts]]
"""The modules of a group: path → the part of its name in which the sides may differ."""
_RUNS = re.compile(r"\d+|[^\d]+")
_ENOUGH = 2
"""A word that changes once is a name that changed; from here on it is a habit."""


def dictionary(groups: Sequence[Sides]) -> dict[str, str]:
    """Return the one dictionary of words that can make the sides equal, or ``{}``.

    A dictionary keeps every word's surroundings, so a word can only become one that stands in
    equal surroundings, in the same groups; what is unique so is settled, and settles more.
    """
    source, target = ([_tokens(group[side]) for group in groups] for side in (0, 1))
    new = [_vocabulary(source) - _vocabulary(target), _vocabulary(target) - _vocabulary(source)]
    clean = [i for i, group in enumerate(groups) if are_apart(group)]
    words: dict[str, str] = {}
    while True:
        open_ = [new[0] - set(words), new[1] - set(words.values())]
        found = [
            _surroundings([(i, tokens[i]) for i in clean], left, known)
            for tokens, left, known in zip((source, target), open_, (words, {}), strict=True)
        ]
        places = [_unique(side) for side in found]
        settled = {word: places[1][s] for s, word in places[0].items() if s in places[1]}
        if not settled:
            break
        words |= settled
    if set(words) != new[0] or set(words.values()) != new[1]:
        return {}
    return words if _systematic([source[i] for i in clean], words) else {}


def _surroundings(
    groups: list[tuple[int, list[Parts]]], open_: set[str], known: Mapping[str, str]
) -> dict[str, frozenset[tuple[object, int]]]:
    """Return word → where it stands, with every word that is not settled left out."""
    found: dict[str, Counter[object]] = {}
    for number, names in groups:
        for tokens in names:
            unsettled = dict.fromkeys(token for token in tokens if token in open_)
            for word in unsettled:
                around = tuple(
                    "@" if t == word else "?" if t in unsettled else known.get(t, t) for t in tokens
                )
                found.setdefault(word, Counter())[number, around] += 1
    return {word: frozenset(places.items()) for word, places in found.items()}


def _unique(places: Mapping[str, frozenset[tuple[object, int]]]) -> dict[object, str]:
    count = Counter(places.values())
    return {place: word for word, place in places.items() if count[place] == 1}


def _systematic(groups: list[list[Parts]], words: Mapping[str, str]) -> bool:
    """Tell whether no group rests on words that changed only once."""
    uses = Counter(t for names in groups for tokens in names for t in set(tokens) & words.keys())
    for names in groups:
        used = {token for tokens in names for token in tokens if token in words}
        if len(names) > 1 and len(used) > 1 and any(uses[word] < _ENOUGH for word in used):
            return False
    return True


def are_apart(group: Sides) -> bool:
    """Tell whether no name stands on both sides."""
    source, target = group
    return set(source.values()).isdisjoint(target.values())


def translated(parts: Parts, words: Mapping[str, str]) -> Parts:
    if not words:
        return parts
    return tuple("".join(words.get(run, run) for run in _RUNS.findall(part)) for part in parts)


def _tokens(names: Mapping[str, Parts]) -> list[Parts]:
    return [
        tuple(run for part in parts for run in (*_RUNS.findall(part), "."))
        for parts in names.values()
    ]


def _vocabulary(groups: list[list[Parts]]) -> set[str]:
    return {t for names in groups for tokens in names for t in tokens if not t.isdigit()}
