"""A page, run: its text as it must be."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import ROOT
from tests.documentation.blocks import Block, blocks, corrected, steps
from tests.documentation.terminal import Terminal, forget

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run(page: Path, folder: Path) -> str:
    """Run a page in a folder, beside the samples.

    Returns:
        The page's text; outputs that it does not show as they are have been replaced.
    """
    made = shutil.ignore_patterns("*.ckpt", "*.h5", "__pycache__")
    shutil.copytree(ROOT / "samples", folder / "samples", ignore=made)
    text = page.read_text(encoding="utf-8")
    found, terminal = blocks(text), Terminal(folder)
    lines = text.splitlines(keepends=True)
    changes: list[tuple[int, int, str]] = []
    try:
        for block, after in zip(found, [*found, None][1:], strict=True):
            if block.language == "console":
                changes.append((block.start, block.end, _console(block, terminal)))
            elif block.language in ("python", "sh"):
                printed = _session(block, terminal, page)
                changes += _output(block, after, printed)
    finally:
        forget(folder)
    for start, end, new in reversed(changes):
        lines[start:end] = [new]
    return "".join(lines)


def _console(block: Block, terminal: Terminal) -> str:
    text = ""
    for step in steps(block.content):
        printed = terminal.run(step.command)
        shown = corrected(step.shown, printed)
        text += "$ " + step.command.replace("\n", "\n> ") + "\n" + shown
    return text


def _session(block: Block, terminal: Terminal, page: Path) -> str:
    if block.language == "sh":
        return "".join(map(terminal.installed, block.content.splitlines()))
    return terminal.python("\n" * block.start + block.content, str(page))


def _output(block: Block, after: Block | None, printed: str) -> list[tuple[int, int, str]]:
    """Return what has to change in the output that follows, or its place where it is missing."""
    if after and after.language == "output":
        return [(after.start, after.end, corrected(after.content, printed))]
    new = f"\n```output\n{printed}```\n"
    return [(block.end + 1, block.end + 1, new)] if printed else []
