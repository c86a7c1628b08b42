"""The errors a user can meet; the command line prints them as one line and exits with 1."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ckptconv.spelling import option, patterns

StrPath = str | os.PathLike[str]
_MAX_PART, _MAX_LINE, _SHOWN, _ALIKE, _ADVISED = 1000, 20_000, 10, 3, 100


def printable(text: object) -> str:
    """Return ``text`` with control characters escaped, so that a file cannot drive a terminal."""
    if (shown := str(text)).isprintable():
        return shown
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in shown
    )


def listed(names: Iterable[str], most: int, between: str = ", ") -> str:
    """Return the first of many names, as sentences list them, and how many are not among them."""
    there = list(names)
    return between.join(there[:most]) + (f" and {len(there) - most} more" if there[most:] else "")


def plural(count: int, noun: str) -> str:
    """Return a number of things, as sentences have it."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


class CkptconvError(Exception):
    """Something in a checkpoint, or in what was asked of it, that cannot be done.

    The message reads ``file: tensor: problem: expected …, found …; try …`` with the parts that
    are known.

    Attributes:
        problem: what is wrong, without the rest.
        file: where, or None.
        tensor: the tensor or the module, or None.
        expected: what would have been right, or None.
        found: what is there instead, or None.
        hint: what to try, or None.
        others: what else of the file is refused, each with its tensor.
    """

    others: Sequence[str] = ()

    def __init__(
        self,
        problem: str,
        *,
        file: StrPath | None = None,
        tensor: str | None = None,
        expected: object = None,
        found: object = None,
        hint: str | None = None,
    ) -> None:
        self.problem, self.file, self.tensor = problem, file, tensor
        self.expected, self.found, self.hint = expected, found, hint
        super().__init__(problem)

    def __str__(self) -> str:
        return "; ".join(self.sentences())

    def __reduce__(self) -> tuple[Any, ...]:
        """Let an error be raised in one process and caught in another."""
        return type(self).__new__, (type(self), *self.args), vars(self)

    def sentences(self) -> list[str]:
        """Return what is wrong, then what to try, then what else is refused."""
        where = [_short(os.fsdecode(self.file) or "''")] if self.file is not None else []
        where += [_short(self.tensor or "(root)")] if self.tensor is not None else []
        facts = [f"expected {_short(self.expected)}"] if self.expected is not None else []
        facts += [f"found {_short(self.found)}"] if self.found is not None else []
        text = ": ".join([*where, _short(self.problem)] + ([", ".join(facts)] if facts else []))
        hint = [f"try {_short(self.hint, _MAX_LINE)}"] if self.hint else []
        also = [f"and {_short(other)}" for other in self.others]
        return [printable(sentence) for sentence in (text, *hint, *also)]


class UsageError(CkptconvError):
    """An option's value, or a target's name, that is wrong whatever the file holds."""


def _short(part: object, limit: int = _MAX_PART) -> str:
    """A file can make a name as long as it likes."""
    text = str(part)
    return text if len(text) <= limit else f"{text[:limit]}…"


class ContainerError(CkptconvError):
    """The bytes of a file cannot be read, or a file cannot be written."""


class SeveralError(ContainerError):
    """A file holds several things to read; ``choices`` are what ``select`` takes."""

    def __init__(self, problem: str, *, choices: Sequence[str], **where: Any) -> None:
        super().__init__(problem, **where)
        self.choices = tuple(choices)


def exists_already(path: StrPath) -> ContainerError:
    """Return the error of a file that would be replaced."""
    hint = f"{option('force', True)}; it replaces the file"
    return ContainerError("exists already", file=path, hint=hint)


class DialectError(CkptconvError):
    """Names or shapes that the framework's conventions do not explain."""


class AmbiguousKindError(DialectError):
    """Several layer kinds fit the same parameters and nothing decides between them.

    Attributes:
        choices: module → the kinds that fit, of all modules of the file of which this is true.
        allow: what ``allow`` takes that decides where no kind does.
    """

    allow: frozenset[str] = frozenset()

    def __init__(self, problem: str, *, kinds: Sequence[str] = (), **said: Any) -> None:
        super().__init__(problem, **said)
        self.choices = {self.tensor or "": tuple(kinds)}

    @classmethod
    def of(
        cls, errors: Sequence[AmbiguousKindError], modules: Collection[str] = ()
    ) -> AmbiguousKindError:
        """Return one error of all; what it advises speaks of none but the file's ``modules``."""
        first, *others = errors
        more = [path for error in others for path in error.choices]
        first.choices = {path: kinds for e in errors for path, kinds in e.choices.items()}
        first.allow = first.allow.union(*(error.allow for error in others))
        if more:
            first.problem += f" (nor for {listed(more, _SHOWN)})"
            first.hint = _line(errors, modules)
        return first


def _line(errors: Sequence[AmbiguousKindError], modules: Collection[str]) -> str:
    """Return the options that answer all errors; paths that differ in numbers become a pattern."""
    answers: dict[tuple[str, str], list[str]] = {}
    hints: list[str] = []
    choices = {path: (kinds, e.hint) for e in errors for path, kinds in e.choices.items()}
    for path, (kinds, hint) in choices.items():
        if kinds:
            answers.setdefault((re.sub(r"\d+", "*", path), kinds[0]), []).append(path)
        elif hint and hint not in hints:
            hints.append(hint)
    everything = {*choices, *modules}
    said: dict[str, str] = {}
    for (_, kind), paths in answers.items():
        if len(said) > _ADVISED:
            said |= dict.fromkeys(paths, kind)
        else:
            said |= dict.fromkeys(patterns(paths, everything - {*paths}), kind)
    return "; ".join([*hints, *([option("kinds", said)] if said else [])])


def _shortened(hints: Iterable[str]) -> Iterator[str]:
    """Yield hints, of those that differ in numbers alone the first few."""
    alike: dict[str, list[str]] = {}
    for hint in hints:
        alike.setdefault(re.sub(r"\d+", "*", hint), []).append(hint)
    for group in alike.values():
        yield from group[:_ALIKE]
        if len(group) > _ALIKE:
            yield f"and {len(group) - _ALIKE} more like these"


class Gathered(list[CkptconvError]):
    """A context, entered once for each module, out of which refusals come here."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, DialectError | LossyError):
            return False
        self.append(error)
        return True


@contextmanager
def gathering(modules: Callable[[], Collection[str]] = tuple) -> Iterator[Gathered]:
    """Let a loop go on past modules that are refused; raise one error of all at its end.

    Args:
        modules: all of the file, asked for at the end.

    >>> with gathering() as each:
    ...     for path in paths:
    ...         with each:
    ...             lift(path)
    """
    yield (errors := Gathered())
    ambiguous = [error for error in errors if isinstance(error, AmbiguousKindError)]
    refused = [error for error in errors if not isinstance(error, AmbiguousKindError)]
    if ambiguous and not refused:
        raise AmbiguousKindError.of(ambiguous, modules())
    if refused:
        first, *more = refused
        also = [f"{error.tensor}: {error.problem}" for error in (*more, *ambiguous)]
        rest = f"{len(also) - _SHOWN} more"
        first.others = (*also[:_SHOWN], rest) if also[_SHOWN:] else also
        asked = [_line(ambiguous, modules())] if ambiguous else []
        hints = dict.fromkeys([*(error.hint for error in refused if error.hint), *asked])
        first.hint = "; ".join(_shortened(hints)) or None
        raise first


class WrongFrameworkError(DialectError):
    """The file contradicts what it was said to be; ``spoken`` is the framework whose it is."""

    spoken: str = ""


class UnmatchedError(DialectError):
    """A source and a target network have no pairing that is beyond doubt; ``plan`` is the plan."""

    def __init__(self, problem: str, *, plan: Any, hint: str | None = None) -> None:
        super().__init__(problem, hint=hint)
        self.plan = plan


class LossyError(CkptconvError):
    """The target has no equal for what the source holds; outputs would change."""


class VerificationError(CkptconvError):
    """Vectors are replayed on another model than the one that they were made of."""


@contextmanager
def locating(file: StrPath) -> Iterator[None]:
    """Name the file in errors of rooms that know only tensors."""
    try:
        yield
    except CkptconvError as error:
        error.file = error.file or file or None
        raise
