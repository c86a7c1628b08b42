"""The blocks of a page that are run, and when an output is as the page shows it.

console: lines ``$ command`` (``> `` goes on with it), each followed by what it prints; a line
``[exit code 1]`` last where it fails. python, sh: run, and what they print is the block ``output``
that follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from markdown_it import MarkdownIt

RUN = ("console", "python", "sh", "output")
SHOWN = ("text", "toml", "yaml", "json", "bibtex")
"""What stands in a page without being run: what no machine here can run, and parts of files."""

_TINY = re.compile(r"\d(?:\\?\.\d+)?e\\?-(?:0[6-9]|1\d)|(?<!\d)0\\?\.0(?!\d)")


class Block(NamedTuple):
    """A fenced block: the lines ``start`` to ``end`` of the page are its content."""

    language: str
    content: str
    start: int
    end: int


class Step(NamedTuple):
    """A command of a console and what the page says it prints."""

    command: str
    shown: str


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    fences = [token for token in MarkdownIt().parse(text) if token.type == "fence"]
    return [Block(t.info.strip(), t.content, t.map[0] + 1, t.map[1] - 1) for t in fences if t.map]


def links(text: str) -> list[str]:
    """Return the files that a page links to."""
    inside = [part for token in MarkdownIt().parse(text) for part in token.children or ()]
    found = [str(part.attrs["href"]) for part in inside if part.type == "link_open"]
    return [link.partition("#")[0] for link in found if "://" not in link]


def steps(console: str) -> Iterator[Step]:
    """Yield the commands of a console with their outputs."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        more = next((n for n, line in enumerate(lines[1:], 1) if line[:2] != "> "), len(lines))
        command = lines[0] + "".join(line[2:] for line in lines[1:more])
        yield Step(command.rstrip("\n"), "".join(lines[more:]))


def corrected(shown: str, printed: str) -> str:
    """Return what a page should show: what it shows if that is right, else what was printed.

    Where lines were left out, they are left out again.
    """
    if alike(shown, printed):
        return shown
    old = shown.splitlines()
    parts = [line for line in old if line.strip() != "…"]
    new = [
        next((part for part in parts if alike(part, line)), line) for line in printed.splitlines()
    ]
    lines: list[str] = []
    for same, first, last, start, end in SequenceMatcher(None, old, new, False).get_opcodes():
        found = new[start:end]
        if same != "equal" and "…" in old[first:last]:
            before = old.index("…", first) - first
            after = old[first:last][::-1].index("…")
            found = [*found[:before], "…", *found[max(before, len(found) - after) :]]
        lines += found
    return "".join(f"{line}\n" for line in lines)


def alike(shown: str, printed: str) -> bool:
    """Say whether a page shows what was printed.

    ``…`` alone in a line stands for any lines, within a line for any part of it; errors of the
    size of rounding (1.2e-07) stand for each other and for none: processors differ.
    """
    pattern = ""
    for line in shown.rstrip("\n").split("\n"):
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            escaped = re.escape(line).replace("…", r"[^\n]*?")
            pattern += _TINY.sub(lambda _: f"(?:{_TINY.pattern}|0)", escaped) + r"[ ]*\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None
