"""Which object of a configuration weights of the legacy layout belong to, by their scopes."""

from __future__ import annotations

from collections.abc import Callable

from ckptconv.dialects.keras.config_tree import COUNTER, Part, Scope


def match(scopes: list[Scope], known: list[Part]) -> dict[Scope, tuple[Part, Scope]]:
    """Return the part that each scope of the legacy layout belongs to, and the names below it.

    The part whose names stand in the scope, in their order, deepest; then without counters, which
    differ between the names of layers and of their weights; then as they follow one another.
    """
    if len(known) == 1:
        return {scope: (known[0], _below_names(scope, known[0])) for scope in scopes}
    found: dict[Scope, tuple[Part, Scope]] = {}
    tied: dict[tuple[int, ...], list[Scope]] = {}
    counted, uncounted = (_Names(known, strip) for strip in (str, _uncounted))
    for scope in scopes:
        best = counted.best(scope)
        best = best if len(best) == 1 else uncounted.best(scope)
        if len(best) == 1:
            found[scope] = known[best[0]], _below_names(scope, known[best[0]])
        else:
            tied.setdefault(tuple(best), []).append(scope)
    for candidates, waiting in tied.items():
        taken = [part for part, _ in found.values()]
        free = [known[i] for i in candidates if known[i] not in taken]
        if len(free) == len(waiting):
            found |= {scope: (part, ()) for scope, part in zip(waiting, free, strict=True)}
    return found


class _Names:
    """Parts by their own names, and by those of all that they are in.

    Where a scope has no name of a part's own, it agrees with the part as with all others that are
    in the same: one of them tells for them all, however many there are.
    """

    def __init__(self, known: list[Part], strip: Callable[[str], str]) -> None:
        self._known, self._strip = known, strip
        self._own: dict[str, list[int]] = {}
        beside: dict[tuple[Scope, ...], list[int]] = {}
        for i, part in enumerate(known):
            *above, names = part.scopes
            beside.setdefault(tuple(above), []).append(i)
            for name in {strip(name) for name in names}:
                self._own.setdefault(name, []).append(i)
        self._rows = list(beside.values())

    def best(self, scope: Scope) -> list[int]:
        """Return the places of the parts that agree best with a scope."""
        named = {i for name in scope for i in self._own.get(self._strip(name), ())}
        others = ((next((i for i in row if i not in named), None), row) for row in self._rows)
        found = [(self._rank(scope, i), [i]) for i in named]
        found += [(self._rank(scope, first), row) for first, row in others if first is not None]
        top = max(rank for rank, _ in found)
        rows = [row for rank, row in found if rank == top]
        return sorted({i for row in rows for i in row if len(row) == 1 or i not in named})

    def _rank(self, scope: Scope, place: int) -> tuple[int, int, int, int]:
        """Return how well a scope agrees; the fewer of its names stand between, the better."""
        part = self._known[place]
        count, last, at = _agreement(scope, part, self._strip)
        return count, count - part.depth, last, -at


def _uncounted(name: str) -> str:
    return COUNTER.sub("", name)


def _agreement(scope: Scope, part: Part, strip: Callable[[str], str]) -> tuple[int, int, int]:
    """Return how many of a part's names stand in a scope in their order, at most.

    With it, which of them is the last, and after how many names of the scope it stands.
    """
    bare = [strip(name) for name in scope]
    ends = {0: (0, 0)}  # of so many names: the last, and the first place where it can stand
    for level, names in enumerate(part.scopes, 1):
        for count, (_, at) in sorted(ends.items(), reverse=True):
            places = [bare.index(n, at) + 1 for name in names if (n := strip(name)) in bare[at:]]
            if places and min(places) <= ends.get(count + 1, (0, len(bare)))[1]:
                ends[count + 1] = level, min(places)
    most = max(ends)
    return most, *ends[most]


def _below_names(scope: Scope, part: Part) -> Scope:
    return scope[_agreement(scope, part, str)[2] :]
