"""Models of independent layers: each is found again in the report, built, loaded and run alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any

import numpy as np

from ckptconv import CkptconvError
from ckptconv.report import LayerEntry, Report
from tests.differential.outcome import Outcome, Result, Void
from tests.differential.targets import Unfit, construct, difference, load

LIMIT = 2e-5
_COUNTER = "num_batches_tracked"
_GUESSED = "by its name and the sizes around it; --kind"
Arrays = Mapping[str, np.ndarray]


@dataclass
class Piece:
    """One layer of a source model.

    Attributes:
        path: the network's own name for it.
        kind: the canonical kind, or "" for a class that no framework knows.
        hyper: what no shape tells and is not the default, under torch's names.
        given: arrays to run it with.
        expected: what the source computes of them.
        sources: names of its tensors in the file.
        wholes: target → the call of a layer of several layers, which no row of a report gives.
        told: the file names its class.
    """

    path: str
    kind: str
    given: list[np.ndarray]
    expected: np.ndarray
    sources: set[str]
    hyper: dict[str, Any] = field(default_factory=dict)
    wholes: dict[str, str] = field(default_factory=dict)
    told: bool = False
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        if not self.kind:
            return "Parameter"
        return f"{self.kind}({', '.join(f'{k}={v!r}' for k, v in self.hyper.items())})"


@dataclass
class Question:
    """A conversion that can be asked again with answers: path in the file → kind.

    Attributes:
        truth: the network's own path → what the module is.
        prefix: what stands before the network's names in the file.
    """

    convert: Callable[[Mapping[str, str]], tuple[Report, dict[str, np.ndarray]]]
    pieces: list[Piece]
    prefix: str
    target: str
    truth: Mapping[str, str]
    answers: dict[str, str] = field(default_factory=dict)

    def true_kind(self, path: str) -> str:
        """Return what a module is, whether or not its path still has the wrapper's prefix."""
        bare = f"{path}.".removeprefix(self.prefix).rstrip(".")
        return self.truth.get(path) or self.truth.get(bare, "")

    def true_kinds(self, error: CkptconvError) -> dict[str, str]:
        """Return the true kind of every module that an error asks about."""
        asked = re.findall(r"--kind '?([^ =']*)=", str(error))
        paths = [*self.truth, *((self.prefix + path).rstrip(".") for path in self.truth)]
        plain = [path for path in paths if any(fnmatchcase(path, a) for a in asked)]
        return {path: self.true_kind(path) for path in plain if path in asked or "*" in str(asked)}


class Silent(Exception):  # noqa: N818
    """The report lets a user believe what is not so."""


def examine(question: Question) -> Outcome:
    """Convert, answer what is asked with the truth, build from the report, and compare."""
    asked = ""
    try:
        report, arrays = question.convert({})
    except CkptconvError as error:
        if not _names_a_layer(error, question):
            return Outcome(Result.SILENT, f"refused without a layer: {error.problem}", str(error))
        asked = str(error)
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
        return Outcome(Result.REFUSED, f"then answered: {_anonymous(asked)}", asked)
    return Outcome(Result.NOTED if noted else Result.EQUAL)


def _all(question: Question, report: Report, arrays: Arrays) -> bool:
    noted = False
    unknown = {e.path: e.unknown for e in report.layers if e.unknown}
    guessed = [e.path for e in report.layers if any(_GUESSED in note for note in e.notes)]
    if unknown or guessed:
        noted = True
        asked = [*unknown, *guessed]
        told = {path: kind for path in asked if (kind := question.true_kind(path))}
        again, values = question.convert(question.answers | told)
        if _bytes(values, again, guessed) != _bytes(arrays, report, guessed):
            raise Silent(f"what is only assumed changes values: {unknown}")
        report, arrays = again, values
    for piece in question.pieces:
        noted |= _one(piece, question, report, arrays)
    return noted


def _bytes(arrays: Arrays, report: Report, guessed: list[str]) -> dict[str, bytes]:
    """Return the source's values, not the constants that a target's layer has beside them; under
    the source's names where the kind, on which the target's names depend, was a guess that a note
    tells."""
    added = {entry.target for entry in report.tensors if not entry.sources}
    called = {
        tensor.target: f"{tensor.sources}"
        for entry in report.layers
        for tensor in entry.tensors
        if entry.path in guessed
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
        _run_whole(piece, question, entries, arrays)
    elif piece.kind:
        noted |= _run(piece, question.target, entries, arrays)
    else:
        noted |= _own_class(piece, question, entries, arrays)
    return noted


def _check_names(
    piece: Piece, question: Question, entries: list[LayerEntry], report: Report
) -> bool:
    """The target's names must be the network's own, or a note must say how to make them so."""
    path, wrapped = piece.path, question.prefix + piece.path
    under = [t.target for e in entries for t in e.tensors]
    if all(_below(name, path) for name in under):
        return False
    told = any("--rename" in note and question.prefix in note for note in report.notes)
    if question.prefix and told and all(_below(name, wrapped) for name in under):
        return True
    raise Silent(f"{path} is called {under[0]} and no note says why")


def _below(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


def _run(piece: Piece, target: str, entries: list[LayerEntry], arrays: Arrays) -> bool:
    entry = entries[0]
    if len(entries) > 1 or not entry.constructor:
        kinds = [e.kind for e in entries]
        if {*kinds} == {"Parameter"} and all("no known layer" in e.evidence for e in entries):
            return True
        if not entry.constructor and entry.kind == piece.kind:
            return True  # the target has no such layer, and says so by an empty call
        raise Silent(f"a {piece.kind} became {kinds}: {[e.evidence for e in entries]}")
    if "?" in entry.constructor:
        raise Silent(f"still not known: {entry.constructor}")
    layers = construct(entry.constructor, target)
    loaded_strictly(layers, _weights(entries, entry.path, arrays), target)
    _compare(piece, layers, target, entry.constructor)
    return bool(entry.notes)


def _run_whole(piece: Piece, question: Question, entries: list[LayerEntry], arrays: Arrays) -> None:
    call = piece.wholes[question.target]
    layers = construct(call, question.target)
    path = piece.path
    if not all(_below(t.target, path) for e in entries for t in e.tensors):
        path = question.prefix + path
    loaded_strictly(layers, _weights(entries, path, arrays), question.target)
    _compare(piece, layers, question.target, call)


def loaded_strictly(layers: list[Any], weights: Arrays, target: str) -> None:
    """Load into a layer as it stands in a network: alone, some of MindSpore's have other names."""
    if target == "torch":
        load(layers, weights, target)
        return
    import mindspore as ms

    holder = ms.nn.CellDict({"m": layers[0]})
    shapes = {p.name: tuple(p.shape) for p in holder.get_parameters()}
    found = {f"m.{name}": tuple(value.shape) for name, value in weights.items()}
    if shapes != found:
        raise Unfit(f"does not load strictly: {sorted(shapes.items() ^ found.items())}")
    values = {f"m.{n}": ms.Parameter(ms.Tensor(v), name=f"m.{n}") for n, v in weights.items()}
    if ms.load_param_into_net(holder, values, strict_load=True) != ([], []):
        raise Unfit("does not load strictly")
    holder.set_train(False)


def _weights(entries: list[LayerEntry], path: str, arrays: Arrays) -> dict[str, np.ndarray]:
    cut = len(path) + 1 if path else 0
    return {t.target[cut:]: arrays[t.target] for e in entries for t in e.tensors}


def _compare(piece: Piece, layers: list[Any], target: str, call: str) -> None:
    if not np.isfinite(piece.expected).all():
        raise Void("the source's own output is not finite")
    found = run_one(layers[0], piece, target)
    gap = difference(found, piece.expected)
    if gap > LIMIT:
        raise Silent(f"other numbers: {gap:.2g}: {piece.kind} as {call}")


def run_one(layer: Any, piece: Piece, target: str) -> np.ndarray:
    """Run a layer; a cell takes its states as torch and MindSpore want them."""
    try:
        if target == "torch":
            import torch

            with torch.no_grad():
                return first(called(layer, piece.kind, [torch.from_numpy(a) for a in piece.given]))
        import mindspore as ms

        return first(called(layer, piece.kind, [ms.Tensor(a) for a in piece.given]))
    except Exception as error:
        text = (str(error).strip() or "nothing").splitlines()[0][:200]
        if "kernel" in text:
            raise Void("the target has no such kernel on this machine") from error
        raise Unfit(f"does not run: {type(error).__name__}: {text}") from error


def called(layer: Any, kind: str, given: list[Any]) -> Any:
    if kind == "LSTMCell":
        return layer(given[0], (given[1], given[2]))
    return layer(*given)


def first(value: Any) -> np.ndarray:
    value = value[0] if isinstance(value, tuple | list) else value
    return np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value.detach().numpy())


def in_order(rng: Random, drawn: list[str]) -> list[str]:
    """Return recipes in the order of a model: a norm stands first or after its convolution, and
    what may be a table feeds what comes next."""
    norms = [recipe for recipe in drawn if recipe.startswith("BatchNorm")]
    feeding = [recipe for recipe in drawn if recipe in ("Embedding", "Linear")]
    rest = [recipe for recipe in drawn if recipe not in (*norms, *feeding)]
    if not norms:
        return feeding + rest
    norm, rest = norms[0], [recipe for recipe in rest if not recipe.startswith("Conv")]
    if rng.random() < 0.7:
        return [*feeding, *rest, f"Conv{norm[-1]}", norm]
    return [norm, *feeding, *rest]


def _own_class(piece: Piece, question: Question, entries: list[LayerEntry], arrays: Arrays) -> bool:
    """A class of the user's: its parameters must come through as they are, or it must be told."""
    told = any("class" in note for e in entries for note in e.notes)
    own = piece.told and not piece.wholes  # or a layer of torch's that this target has not
    if own and not told and any(e.constructor for e in entries):
        raise Silent(f"a class of the user's is printed as {entries[0].constructor}")
    for entry in entries:
        if entry.kind != "Parameter" and entry.kind in question.true_kind(entry.path):
            continue  # a layer of the framework's inside
        for tensor in entry.tensors:
            source, *others = tensor.sources
            if others:
                continue  # made of several: a parametrization, which other layers prove
            same = arrays[tensor.target].tobytes() == piece.values[source].tobytes()
            if not same or tensor.target.rpartition(".")[2] != source.rpartition(".")[2]:
                raise Silent(f"{source} became {tensor.target} {tensor.operations}: {entry.kind}")
    return told


def _names_a_layer(error: CkptconvError, question: Question) -> bool:
    text = str(error)
    return (
        bool(error.tensor)
        or any(not p.path or p.path in text for p in question.pieces)  # the file, or a layer
        or ("--select" in text or "--from" in text or "--allow" in text)
    )


def _reason(error: CkptconvError) -> str:
    return _anonymous(error.problem)


def _anonymous(text: str) -> str:
    text = re.sub(r"/\S*/", "", text.splitlines()[0])
    return re.sub(r"[\w.]*_\d+\b|\w+\.[\w.]+|\([\d, ]*\)|\d[\d.e+-]*", "…", text)[:90]
