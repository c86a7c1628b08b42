"""What the words of a module's name say of its kind."""

from __future__ import annotations

import re
from functools import lru_cache

from ckptconv.graph.kinds import KINDS

_WORDS: dict[str, tuple[str, ...]] = {}
"""Words in a module's name → the kinds that they speak for."""
for _kind in KINDS.values():
    if _kind.words:
        _WORDS[_kind.words] = (*_WORDS.get(_kind.words, ()), _kind.name)
_EMBEDS = re.compile(KINDS["Embedding"].words)


def by_name(path: str, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    """Let the words of the last component that is not a number speak, if they agree."""
    parts = path.split(".")
    return _meant(next((part for part in reversed(parts) if not part.isdigit()), ""), candidates)


@lru_cache(maxsize=4096)  # the same few names stand in every block
def _meant(part: str, candidates: tuple[str, ...]) -> tuple[str, ...] | None:
    word = _spaced(part)
    rank = re.search(r"([123])d", word)
    if rank:
        candidates = tuple(k for k in candidates if KINDS[k].rank == int(rank[1])) or candidates
    word = re.sub(r"\d+[a-z]?(?=_|$)", "", word)
    meant = [
        kinds
        for pattern, kinds in _WORDS.items()
        if re.search(rf"(?:^|_)(?:{pattern})(?:_|$)", word) and set(kinds) & set(candidates)
    ]
    return tuple(k for k in candidates if k in meant[0]) if len(meant) == 1 else None


def embeds(path: str) -> bool:
    """Tell whether a word of the path is one for a table that is looked up."""
    return any(map(_EMBEDS.fullmatch, re.split(r"[._\d]+", _spaced(path))))


def _spaced(name: str) -> str:
    """Return CamelCase as camel_case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
