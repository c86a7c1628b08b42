"""What became of one random model, and what a generator of such models is."""

from __future__ import annotations

import ast
import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ckptconv import CkptconvError


class Result(str, Enum):
    """The ends that a case can come to; the last two are defects."""

    EQUAL = "equal"
    NOTED = "noted"
    REFUSED = "refused"
    VOID = "void"
    SILENT = "SILENT"
    TRACEBACK = "TRACEBACK"


ANSWERED = "then answered"
"""How the reason of a refusal begins that asked for what the network knows, and then converted."""
DEFECTS = (Result.SILENT, Result.TRACEBACK)


def asked_about(error: CkptconvError) -> list[str]:
    """Return the modules, or patterns of them, whose kinds a message asks for."""
    told = re.findall(r"kinds=({.*?})", str(error))
    return [path for kinds in told for path in ast.literal_eval(kinds)]


@dataclass(frozen=True)
class Outcome:
    """The end of one case.

    Attributes:
        result: ``EQUAL``: the target built from the report's calls alone gives the same numbers.
            ``NOTED``: it does once the notes that the generator knows are followed by hand.
            ``REFUSED``: one error that names the layer. ``VOID``: the framework itself cannot
            make or save this model, so that nothing was tried. ``SILENT``: other numbers, a call
            that does not run, a refusal that names nothing. ``TRACEBACK``: no CkptconvError.
        reason: a few words without names or numbers of the case, to count by.
        detail: what whoever repairs it needs: the error, the call, the largest difference.
    """

    result: Result
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Case:
    """One model and one way to save and convert it, drawn but not yet built.

    Attributes:
        index: its place in ``Generator.cases(seed)``, which with the seed brings it back.
        text: the model as one would write it down.
        data: what the generator builds it from.
    """

    index: int
    text: str
    data: Any


class Void(Exception):  # noqa: N818
    """The source framework cannot make or save what was drawn."""


@dataclass(frozen=True)
class Generator:
    """The cases of one source framework.

    Attributes:
        draw: returns what a case is built from, the same for the same seed; must be cheap.
        attempt: builds, saves, converts, rebuilds from the report and compares a case, in an empty
            folder; raises Void where the source framework cannot make or save this model.
    """

    draw: Callable[[str], Any]
    attempt: Callable[[Case, Path], Outcome]

    def cases(self, seed: int) -> Iterator[Case]:
        """Yield cases without end, the same for the same seed."""
        for index in itertools.count():
            drawn = self.draw(f"{seed}:{index}")
            yield Case(index, str(drawn), drawn)

    def run(self, case: Case, tmp: Path) -> Outcome:
        """Run a case in the empty folder ``tmp``.

        Raises:
            Void: the source framework cannot make or save this model.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.attempt(case, tmp)
