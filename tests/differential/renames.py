"""How people rename the modules of a network when they build it again."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

Path_ = tuple[str, ...]
Change = Callable[[Path_], Path_]
CONTAINERS = ("encoder", "decoder", "model", "net", "attn", "mlp", "tower", "head", "body")
LISTS = ("layers", "blocks", "stack", "convs")
LEAVES = (
    *("fc", "fc1", "fc2", "fc3", "linear", "linear1", "linear2", "proj", "out", "q", "k", "v"),
    *("query", "key", "value", "norm", "norm1", "norm2", "ln", "embed", "emb", "lstm", "lstm1"),
    *("lstm2", "gru", "cell", "conv", "conv1", "conv2", "bn", "bn1", "bn2", "output", "rnn"),
)
_NEW = ("dense", "words", "first", "second", "final", "last", "a", "b", "w1", "w2", "core", "ffn")
_NUMBER = re.compile(r"\d+")


def _prefix(rng: Random, _: list[Path_]) -> Change:
    word = rng.choice((*CONTAINERS, *_NEW))
    return lambda path: (word, *path)


def _no_prefix(_: Random, paths: list[Path_]) -> Change:
    shared = len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 1
    return lambda path: path[1:] if shared else path


def _words(rng: Random, paths: list[Path_]) -> Change:
    """Some words become others everywhere, now and then words that others had."""
    used = sorted({_NUMBER.sub("", part) for path in paths for part in path} - {""})
    pool = _NEW if rng.random() < 0.7 else (*_NEW, *used)
    old = rng.sample(used, min(len(used), rng.randint(1, 4)))
    words = dict(zip(old, rng.sample(pool, len(old)), strict=True))

    def changed(part: str) -> str:
        word = _NUMBER.sub("", part)
        return part.replace(word, words.get(word, word)) if word else part

    return lambda path: tuple(map(changed, path))


def _numbers(rng: Random, _: list[Path_]) -> Change:
    """Numbers count from elsewhere, or in steps, as where activations are layers too."""
    start, step = rng.choice(((1, 1), (-1, 1), (0, 2), (1, 2), (0, 3)))
    inside = rng.random() < 0.5  # of words, or of lists

    def changed(part: str) -> str:
        if part.isdigit() == inside:
            return part
        return _NUMBER.sub(lambda number: str(max(int(number[0]) * step + start, 0)), part)

    return lambda path: tuple(map(changed, path))


def _inserted(rng: Random, paths: list[Path_]) -> Change:
    """What stands below one word moves a level down."""
    below, word = rng.choice(rng.choice(paths)), rng.choice((*_NEW, *CONTAINERS))
    return lambda path: tuple(
        p for part in path for p in ((part, word) if part == below else (part,))
    )


def _dropped(rng: Random, paths: list[Path_]) -> Change:
    inner = sorted({part for path in paths for part in path[:-1] if not part.isdigit()})
    gone = rng.choice(inner) if inner else ""
    return lambda path: tuple(part for part in path[:-1] if part != gone) + path[-1:]


def _joined(rng: Random, _: list[Path_]) -> Change:
    """Lists become attributes with numbers: ``layers.0`` → ``layers_0``."""
    by = rng.choice(("_", ""))
    return lambda path: tuple(re.sub(r"\.(\d+)(?=\.|$)", rf"{by}\1", ".".join(path)).split("."))


def _alone(rng: Random, paths: list[Path_]) -> Change:
    """Single modules get names of their own."""
    chosen = rng.sample(paths, min(len(paths), rng.randint(1, 3)))
    pool = (*_NEW, *(LEAVES if rng.random() < 0.3 else ()))
    words = dict(zip(chosen, rng.sample(pool, len(chosen)), strict=True))
    return lambda path: (*path[:-1], words.get(path, path[-1]))


CHANGES: dict[str, Callable[[Random, list[Path_]], Change]] = {
    "a prefix": _prefix,
    "a prefix less": _no_prefix,
    "other words": _words,
    "other numbers": _numbers,
    "a level more": _inserted,
    "a level less": _dropped,
    "lists joined": _joined,
    "single names": _alone,
}
