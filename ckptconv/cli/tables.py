"""Tables and lines that fit the terminal: no word is broken, and nothing is cut on a pipe."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from ckptconv.errors import CkptconvError, printable

_COLOURS = {"ok": "32", "FAILED": "1;31", "failed": "1;31"}
_GAP, _INDENT = "   ", "  "
_TYPED = re.compile(r"((try|or) )?(--|'?ckptconv |python )")
Row = Sequence[Sequence[str]]
Cells = Sequence[Row]
"""Rows of cells of lines."""


def print_texts(texts: Iterable[str], indent: str = "  ") -> None:
    """Print paragraphs; on a terminal their further lines begin with ``indent``."""
    for text in texts:
        print(_wrapped(printable(text), _width(), indent))


def counted(count: int, noun: str) -> str:
    """Return a number of things, as a total on the screen."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def print_error(error: CkptconvError) -> None:
    """Print an error: one line, or on a terminal one for each sentence, with commands whole."""
    if not sys.stderr.isatty():
        print(f"ckptconv: {error}", file=sys.stderr)
        return
    width = shutil.get_terminal_size().columns
    first, *others = error.sentences()
    print(_wrapped(f"ckptconv: {first}", width, "  "), file=sys.stderr)
    for sentence in others:
        advice = sentence.startswith("try ")
        lines = "\n".join(_clauses(sentence, width)) if advice else _told(sentence, width)
        print(lines, file=sys.stderr)


def _told(sentence: str, width: int) -> str:
    return _wrapped(_INDENT + sentence, width, 2 * _INDENT)


def _clauses(sentence: str, width: int) -> Iterator[str]:
    """Yield each alternative on a line of its own, that which is to be typed whole, and what is
    said of it on others."""
    for clause in re.split(r"; | (?=or --|or ckptconv )", sentence):
        typed, begins = _TYPED.match(clause), clause.startswith(("try ", "or "))
        line = _INDENT + (clause if typed or begins else _INDENT + clause)
        yield line if typed else _wrapped(line, width, 2 * _INDENT)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print rows in columns; where these are too wide, first cells stand above their rows, or all
    cells one below the other."""
    cells = [[[printable(line) for line in cell.splitlines()] or [""] for cell in r] for r in rows]
    if title:
        print_texts([title])
    if not rows:
        return
    rest = headers[1:], [row[1:] for row in cells]
    if sizes := _sizes(headers, cells, _width()):
        lines = _columns(headers, cells, sizes)
    elif sizes := _sizes(*rest, _width() - len(_INDENT)):
        lines = _below(headers, cells, sizes)
    else:
        lines = _records(headers, cells)
    print("\n".join(lines), end="\n\n")


class Branch:
    """A line of a tree, and the branches below it."""

    def __init__(self, label: str) -> None:
        self.label, self.below = label, list[Branch]()

    def add(self, label: str) -> Branch:
        self.below.append(branch := Branch(label))
        return branch


def print_tree(root: Branch) -> None:
    """Print a tree; on a terminal, lines that are too wide go on in their branch."""
    left, width = [(root, "", "")], _width()
    while left:
        branch, first, rest = left.pop()
        more = rest + ("│   " if branch.below else "    ")
        print(_wrapped(printable(branch.label), width, more, first))
        for number, below in enumerate(reversed(branch.below)):
            fork, bar = ("├── ", "│   ") if number else ("└── ", "    ")
            left.append((below, rest + fork, rest + bar))


def _sizes(headers: Sequence[str], cells: Cells, width: int) -> list[int]:
    """Return the widths of columns, wide ones made narrower by wrapping; none if it cannot be."""
    texts = [[header, *(x for row in cells for x in row[i])] for i, header in enumerate(headers)]
    sizes = [max(map(len, column)) for column in texts]
    excess = sum(sizes) + len(_GAP) * (len(sizes) - 1) - width
    if excess <= 0:
        return sizes
    least = [max(len(word) for text in column for word in text.split() or [""]) for column in texts]
    for _ in range(excess):
        widest = max(range(len(sizes)), key=lambda i: sizes[i] - least[i])
        if sizes[widest] == least[widest]:
            return []
        sizes[widest] -= 1
    return sizes


def _columns(headers: Sequence[str], cells: Cells, sizes: list[int]) -> Iterator[str]:
    yield from _row([[header] for header in headers], sizes)
    yield "─" * (sum(sizes) + len(_GAP) * (len(sizes) - 1))
    for given in cells:
        yield from _row(given, sizes)


def _below(headers: Sequence[str], cells: Cells, sizes: list[int]) -> Iterator[str]:
    """Yield first cells on lines of their own, once each, and the other columns below them."""
    above: Sequence[str] = ()
    for given in [[[header] for header in headers], *cells]:
        if given[0] != above:
            yield _wrapped(" ".join(given[0]), _width(), _INDENT)
        rest = _row(given[1:], sizes)
        yield from (_INDENT + line for line in rest)
        if not above:
            yield "─" * (len(_INDENT) + sum(sizes) + len(_GAP) * (len(sizes) - 1))
        above = given[0]


def _row(given: Row, sizes: list[int]) -> Iterator[str]:
    """Yield the lines of a row, each cell wrapped in its column."""
    row = [
        [part for line in lines for part in _wrapped(line, size).splitlines()]
        for lines, size in zip(given, sizes, strict=True)
    ]
    for line in zip_longest(*row, fillvalue=""):
        padded = map(_coloured, line, sizes)
        yield _GAP.join(padded).rstrip()


def _records(headers: Sequence[str], cells: Cells) -> Iterator[str]:
    """Yield each row as its first cell, and a line for each of the others that says something."""
    for row in cells:
        yield " ".join(row[0])
        for header, lines in zip(headers[1:], row[1:], strict=True):
            for n, line in enumerate(filter(None, lines)):
                text = f"{header}: {_coloured(line)}" if n == 0 else _INDENT + line
                yield _wrapped(_INDENT + text, _width(), 2 * _INDENT)


def _coloured(text: str, size: int = 0) -> str:
    padded = text.ljust(size)
    if text not in _COLOURS or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return padded
    return f"\x1b[{_COLOURS[text]}m{padded}\x1b[0m"


def _wrapped(text: str, width: int, indent: str = "", first: str = "") -> str:
    if len(first) + len(text) <= width and text.isprintable():
        return (first + text).rstrip()
    start = len(text) - len(text.lstrip())
    return textwrap.fill(
        text[start:],
        width,
        initial_indent=first + text[:start],
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 1_000_000
