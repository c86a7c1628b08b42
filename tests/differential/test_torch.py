"""Random torch models in every run; ``python -m tests.differential`` runs as many as wanted."""

from __future__ import annotations

from tests.differential.harness import run, summary
from tests.differential.outcome import ANSWERED, DEFECTS, Result


def test_torch_models():
    ended = list(run("torch", 1, range(80)))
    defects = [(case, outcome) for case, outcome in ended if outcome.result in DEFECTS]
    told = "\n\n".join(f"{c.index}: {c.text}\n{o.reason}\n{o.detail}" for c, o in defects)
    assert not defects, f"{summary(o for _, o in ended)}\n\n{told}"
    asked = [o.reason for _, o in ended if o.result is Result.REFUSED]
    assert any(reason.startswith(ANSWERED) for reason in asked), (
        "no question of a message was found"
    )
