"""Models of independent layers: each is found again in the report, built, loaded and run alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from ckptconv import AmbiguousKindError, CkptconvError, LossyError
from ckptconv.report import LayerEntry, Report
from tests.differential import keras_target
from tests.differential.outcome import ANSWERED, Outcome, Result, Void, asked_about
from tests.differential.piece import Arrays, Piece, Silent
from tests.differential.running import run, run_whole
from tests.differential.targets import Unfit

_COUNTER = "num_batches_tracked"
_RECURRENT = {f"{kind}{cell}" for kind in ("LSTM", "GRU", "RNN") for cell in ("", "Cell")}
_GUESSED = re.compile(r"taken for .*; kinds={.PATH")
"""A note that a kind, on which the target's names may depend, is assumed."""


@dataclass
class Question:
    """A conversion that can be asked again with answers: path in the file → kind.

    Attributes:
        truth: the network's own path → what the module is.
        prefix: what stands before the network's names in the file.
        written: the target file.
    """

    convert: Callable[..., tuple[Report, dict[str, np.ndarray]]]
    pieces: list[Piece]
    prefix: str
    target: str
    truth: Mapping[str, str]
    written: Path
    answers: dict[str, str] = field(default_factory=dict)

    def true_kind(self, path: str) -> str:
        """Return what a module is, whether or not its path still has the wrapper's prefix."""
        bare = f"{path}.".removeprefix(self.prefix).rstrip(".")
        return self.truth.get(path) or self.truth.get(bare, "")

    def true_kinds(self, error: CkptconvError) -> dict[str, str]:
        """Return the true kind of every module that an error asks about."""
        asked = asked_about(error)
        paths = [*self.truth, *((self.prefix + path).rstrip(".") for path in self.truth)]
        plain = [path for path in paths if any(fnmatchcase(path, a) for a in asked)]
        return {path: self.true_kind(path) for path in plain if path in asked or "*" in str(asked)}


def examine(question: Question) -> Outcome:
    """Convert, answer what is asked with the truth, build from the report, and compare."""
    asked = ""
    try:
        report, arrays = question.convert({})
    except CkptconvError as error:
        if not _names_a_layer(error, question):
            return Outcome(Result.SILENT, f"refused without a layer: {error.problem}", str(error))
        asked = str(error)
        if stray := _strays(error, question):
            return Outcome(Result.SILENT, "advice speaks of other layers", f"{stray}\n{asked}")
        question.answers = question.true_kinds(error)
        try:
            report, arrays = question.convert(question.answers)
        except CkptconvError as error:
            return Outcome(Result.REFUSED, _reason(error), f"{asked}\n{error}")
    try:
        noted = _all(question, report, arrays)
    except (Silent, Unfit) as error:
        detail = "\n".join([str(error), *map(str, report.notes), asked])
        return Outcome(Result.SILENT, _anonymous(str(error)), detail)
    if asked:
        return Outcome(Result.REFUSED, f"{ANSWERED}: {_anonymous(asked)}", asked)
    return Outcome(Result.NOTED if noted else Result.EQUAL)


def _strays(error: CkptconvError, question: Question) -> list[str]:
    """Return the layers that a pattern of the advice fits, though nothing is unclear of them."""
    if not isinstance(error, AmbiguousKindError):
        return []
    paths = {question.prefix + path for path in question.truth} - error.choices.keys()
    advised = re.findall(r"'([^']*\*[^']*)': ", error.hint or "")
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in advised)]


def _all(question: Question, report: Report, arrays: Arrays) -> bool:
    cast = any("dtype='float32' writes them so" in note for note in report.notes)
    more, noted = ({"dtype": "float32"} if cast else {}), cast
    if cast:
        report, arrays = question.convert(question.answers, **more)
    unknown = {e.path: e.unknown for e in report.layers if e.unknown}
    guessed = [e.path for e in report.layers if any(map(_GUESSED.search, e.notes))]
    if unknown or guessed:
        noted = True
        asked = [*unknown, *guessed]
        told = {path: kind for path in asked if (kind := question.true_kind(path))}
        try:
            again, values = question.convert(question.answers | told, **more)
        except LossyError:  # what it was taken for had to be told, and was
            return True
        turned = guessed if question.target == "keras" else []  # another class there, transposed
        if _bytes(values, again, guessed, turned) != _bytes(arrays, report, guessed, turned):
            raise Silent(f"what is only assumed changes values: {unknown}")
        report, arrays = again, values
    for piece in question.pieces:
        noted |= _one(piece, question, report, arrays)
    return noted


def _bytes(
    arrays: Arrays, report: Report, guessed: list[str], left_out: list[str]
) -> dict[str, bytes]:
    """Return the source's values, not the constants that a target's layer has beside them; under
    the source's names where the kind, on which the target's names depend, was a guess that a note
    tells."""
    added = {entry.target for entry in report.tensors if not entry.sources}
    added |= {t.target for e in report.layers if e.path in left_out for t in e.tensors}
    called = {
        tensor.target: f"{tensor.sources}"
        for entry in report.layers
        for tensor in entry.tensors
        if {entry.path, entry.path.rpartition(".")[0]} & {*guessed}
    }
    return {called.get(n, n): a.tobytes() for n, a in arrays.items() if n not in added}


def _one(piece: Piece, question: Question, report: Report, arrays: Arrays) -> bool:
    lost = [
        f"{name}: {report.omitted[name]}"
        for name in piece.sources & report.omitted.keys()
        if not name.endswith(_COUNTER)
    ]
    if lost:
        raise Silent(f"a weight is left out: {lost}")
    entries = [e for e in report.layers if any(piece.sources & {*t.sources} for t in e.tensors)]
    if not entries:
        raise Silent(f"no layer of {piece.path}") if piece.sources else Void("no parameters")
    for entry in entries:
        foreign = {s for t in entry.tensors for s in t.sources} - piece.sources
        if foreign:
            raise Silent(f"{entry.path} takes {foreign} of other layers too")
    noted = _check_names(piece, question, entries, report)
    if question.target in piece.wholes:
        names = [t.target for e in entries for t in e.tensors]
        own = all(_below(name, piece.path) for name in names)
        path = piece.path if own else question.prefix + piece.path
        run_whole(piece, question.target, entries, arrays, path)
    elif piece.kind:
        noted |= run(piece, question.target, entries, arrays, question.written)
    else:
        noted |= _own_class(piece, question, entries, arrays)
    return noted


def _check_names(
    piece: Piece, question: Question, entries: list[LayerEntry], report: Report
) -> bool:
    """The target's names must be the network's own, or a note must say how to make them so."""
    path, wrapped = piece.path, question.prefix + piece.path
    under = [t.target for e in entries for t in e.tensors]
    if question.target == "keras":
        if question.written.name.endswith(".weights.h5"):
            return False  # numbers by class
        under = [keras_target.dotted(name, (path, wrapped)) for name in under]
    if all(_below(name, path) for name in under):
        return False
    told = any("rename={" in note and question.prefix in note for note in report.notes)
    if question.prefix and told and all(_below(name, wrapped) for name in under):
        return True
    raise Silent(f"{path} is called {under[0]} and no note says why")


def _below(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


def _own_class(piece: Piece, question: Question, entries: list[LayerEntry], arrays: Arrays) -> bool:
    """A class of the user's: its parameters must come through as they are, or it must be told."""
    told = any("class" in note for e in entries for note in e.notes)
    own = piece.told and not piece.wholes  # or a layer of torch's that this target has not
    outer = [e for e in entries if e.kind not in question.true_kind(e.path)]  # not what it holds
    if own and not told and (printed := [e.constructor for e in outer if e.constructor]):
        raise Silent(f"a class of the user's is printed as {printed[0]}")
    more = [e for e in entries if len(entries) > 1 and e.kind in _RECURRENT and e.constructor]
    if more and not told and more[0].path not in question.answers:
        raise Silent(f"what holds more than a {more[0].kind} is printed as one")
    for entry in entries:
        if entry.kind != "Parameter" and entry.kind in question.true_kind(entry.path):
            continue  # a layer of the framework's inside
        if question.target == "keras" and (told or not piece.told):
            continue  # its names and shapes are those of a layer, whose weights Keras transposes
        for tensor in entry.tensors:
            source, *others = tensor.sources
            if others:
                continue  # made of several: a parametrization, which other layers prove
            same = arrays[tensor.target].tobytes() == piece.values[source].tobytes()
            last = keras_target.leaf(tensor.target).rpartition(".")[2]
            if not same or last != source.rpartition(".")[2]:
                raise Silent(f"{source} became {tensor.target} {tensor.operations}: {entry.kind}")
    return told


def _names_a_layer(error: CkptconvError, question: Question) -> bool:
    text = str(error)
    return (
        bool(error.tensor)
        or any(not p.path or p.path in text for p in question.pieces)  # the file, or a layer
        or any(f"{option}=" in text for option in ("select", "source", "allow"))
    )


def _reason(error: CkptconvError) -> str:
    return _anonymous(error.problem)


def _anonymous(text: str) -> str:
    text = re.sub(r"/\S*/", "", text.splitlines()[0])
    return re.sub(r"[\w.]*_\d+\b|\w+\.[\w.]+|\([\d, ]*\)|\d[\d.e+-]*", "…", text)[:90]
