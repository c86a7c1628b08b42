"""Random torch.export programs; ``python -m tests.differential --framework programs``."""

from __future__ import annotations

from tests.differential.harness import run, summary
from tests.differential.outcome import DEFECTS


def test_networks_of_exported_programs():
    ended = list(run("programs", 4, range(40)))
    defects = [(case, outcome) for case, outcome in ended if outcome.result in DEFECTS]
    told = "\n\n".join(f"{c.index}: {c.text}\n{o.reason}\n{o.detail}" for c, o in defects)
    assert not defects, f"{summary(o for _, o in ended)}\n\n{told}"
