"""There and home again in every run; ``python -m tests.differential --framework homeward``."""

from __future__ import annotations

from tests.differential.harness import run, summary
from tests.differential.outcome import DEFECTS, Result


def test_what_comes_home():
    ended = list(run("homeward", 1, range(130)))
    defects = [(case, outcome) for case, outcome in ended if outcome.result in DEFECTS]
    told = "\n\n".join(f"{c.index}: {c.text}\n{o.reason}\n{o.detail}" for c, o in defects)
    assert not defects, f"{summary(o for _, o in ended)}\n\n{told}"
    home = sum(outcome.result in (Result.EQUAL, Result.NOTED) for _, outcome in ended)
    assert home > len(ended) / 2, summary(o for _, o in ended)
