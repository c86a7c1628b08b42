"""Random models in every run; ``python -m tests.differential`` runs as many as wanted."""

from __future__ import annotations

import pytest

from tests.differential.harness import run, summary
from tests.differential.outcome import ANSWERED, DEFECTS, Result

DRAWN = {
    # what: seed, how many
    "aliases": (1, 100),
    "calls": (1, 120),
    "dtypes": (1, 100),
    "graphs": (3, 60),
    "homeward": (1, 130),
    "keras": (12, 150),
    "likes": (3, 80),
    "mindspore": (1, 60),
    "modules": (1, 120),
    "networks": (7, 80),
    "operations": (1, 200),
    "operators": (5, 250),
    "programs": (4, 40),
    "proofs": (1, 100),
    "settings": (1, 120),
    "torch": (1, 80),
}


@pytest.mark.parametrize("what", DRAWN)
def test_random_models(what):
    seed, count = DRAWN[what]
    ended = list(run(what, seed, range(count)))
    outcomes = [outcome for _, outcome in ended]
    defects = [(case, outcome) for case, outcome in ended if outcome.result in DEFECTS]
    told = "\n\n".join(f"{c.index}: {c.text}\n{o.reason}\n{o.detail}" for c, o in defects)
    assert not defects, f"{summary(outcomes)}\n\n{told}"
    if what == "homeward":
        home = sum(outcome.result in (Result.EQUAL, Result.NOTED) for outcome in outcomes)
        assert home > count / 2, summary(outcomes)
    if what in ("mindspore", "torch"):
        asked = [outcome.reason for outcome in outcomes if outcome.result is Result.REFUSED]
        assert any(reason.startswith(ANSWERED) for reason in asked), (
            "no question of a message was found"
        )
