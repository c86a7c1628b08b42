"""The report as one self-contained page: what became of each tensor, and the proof."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path as FilePath
from string import Template

from ckptconv import __version__
from ckptconv.errors import printable
from ckptconv.graph.graph import Graph
from ckptconv.io.atomic import atomic_path, check_target
from ckptconv.report import Report
from ckptconv.verification.page import pictures
from ckptconv.verification.results.layers import VerifyReport
from ckptconv.verification.results.tensors import Table, TensorDiff
from ckptconv.verification.stored_weights import stacking

_MAX_ROWS = 1000
_MAX_PICTURES = 500_000
"""Characters of pictures in a page; the rest is counted, not drawn."""
Path = str | os.PathLike[str]


def write_page(
    path: Path, proof: VerifyReport, *, conversion: Report | None = None, force: bool = False
) -> None:
    """Write the page of a proof, whole or not at all.

    Args:
        proof: of ``verify`` (or ``replay``, which has no weights to show).
        conversion: the account of the conversion, if it is at hand.
        force: replace an existing file.

    Raises:
        CkptconvError: ``path`` cannot be written.
    """
    text = page(proof, conversion=conversion)
    check_target(path, [], force=force)
    with atomic_path(path, force=force) as temporary:
        FilePath(temporary).write_text(text, "utf-8")


def page(proof: VerifyReport, *, conversion: Report | None = None) -> str:
    """Return the page as HTML; see ``write_page``."""
    sections = [_section(*table) for table in proof.tables()]
    sections.insert(1, _section(*_tensors(proof, conversion)))
    sections.append(_figures("gates, before and after", _gates(proof)))
    sections.append(_figures("how far outputs are apart", _histograms(proof)))
    sections.append(_notes(proof, conversion))
    template = (
        resources.files("ckptconv.verification.page").joinpath("page.html").read_text("utf-8")
    )
    sides = (f"{side['path']} ({side['container']}, {side['framework']})" for side in _sides(proof))
    return Template(template).substitute(
        title=_text(f"{proof.source['path']} → {proof.target['path']}"),
        heading="Is it the same model?",
        state="good" if proof.ok else "bad",
        verdict="Yes: every layer computes the same." if proof.ok else "No: see below.",
        sides=_text(" → ".join(sides)),
        sections="\n".join(section for section in sections if section),
        version=_text(__version__),
    )


def _sides(proof: VerifyReport) -> Iterable[dict[str, str]]:
    return proof.source, proof.target


def _tensors(proof: VerifyReport, conversion: Report | None) -> Table:
    """Return what happened to each tensor."""
    account = conversion.tensors if conversion else []
    done = {entry.target: "; ".join(entry.operations) for entry in account}
    rows: list[tuple[str, ...]] = []
    for t in (tensor for layer in proof.layers for tensor in layer.tensors):
        shape = "×".join(map(str, t.shapes[0] or t.shapes[1] or ())) or "1"
        rows.append((t.a, t.b, shape, done.get(t.b, "") or t.how, t.verdict))
    return "tensors", ("source", "target", "canonical shape", "operations", "verdict"), rows


def _section(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_text(header)}</th>" for header in headers)
    body = "\n".join(
        "<tr>" + "".join(map(_cell, headers, row)) + "</tr>" for row in rows[:_MAX_ROWS]
    )
    more = f"<p>and {len(rows) - _MAX_ROWS} more</p>" if len(rows) > _MAX_ROWS else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f'<h2>{_text(title)}</h2>\n<div class="wide">{table}</div>{more}'


def _cell(header: str, value: str) -> str:
    state = {"ok": "good", "FAILED": "bad"}.get(value)
    content = f'<span class="{state}">{_text(value)}</span>' if state else _text(value)
    return f'<td data-head="{_text(header)}">{content}</td>'


def _figures(title: str, figures: Iterator[str]) -> str:
    drawn: list[str] = []
    size = left = 0
    for figure in figures:
        if size + len(figure) > _MAX_PICTURES:
            left += 1
            continue
        size += len(figure)
        drawn.append(figure)
    more = f"<p>and {left} more that are not drawn</p>" if left else ""
    body = "\n".join(drawn)
    return f'<h2>{_text(title)}</h2>\n<div class="figures">\n{body}\n</div>{more}' if drawn else ""


def _gates(proof: VerifyReport) -> Iterator[str]:
    """Yield a drawing for each pair of tensors that hold stacked gates in both files."""
    tensors = [t for layer in proof.layers for t in layer.tensors if t.a and t.b]
    if not tensors or proof.graphs is None:
        return
    graphs = proof.graphs
    stacked = [stacking(graph) for graph in graphs]
    for found in tensors:
        if found.a in stacked[0] and found.b in stacked[1] and len(found.shapes[0] or ()) == 2:
            yield _pair(found, graphs, stacked)


def _pair(found: TensorDiff, graphs: Sequence[Graph], stacked: Sequence[pictures.Stackings]) -> str:
    sides = [
        pictures.Side(graph.origin.tensors[name], stacking[name])
        for graph, name, stacking in zip(graphs, (found.a, found.b), stacked, strict=True)
    ]
    caption = f"{found.a} → {found.b}: {found.verdict}"
    return f"<figure>{pictures.gates(*sides)}<figcaption>{_text(caption)}</figcaption></figure>"


def _histograms(proof: VerifyReport) -> Iterator[str]:
    for layer in proof.layers:
        for run in layer.runs:
            caption = f"{layer.source}: {run.by} ({run.side}) against {run.against}"
            drawing = pictures.histogram(run.difference)
            yield f"<figure>{drawing}<figcaption>{_text(caption)}</figcaption></figure>"


def _notes(proof: VerifyReport, conversion: Report | None) -> str:
    notes = list(proof.notes)
    if conversion is not None:
        notes += conversion.notes
        notes += [f"{layer.path}: {note}" for layer in conversion.layers for note in layer.notes]
    items = "".join(f"<li>{_text(note)}</li>" for note in notes[:_MAX_ROWS])
    return f"<h2>notes</h2>\n<ul>{items}</ul>" if items else ""


def _text(text: str) -> str:
    return escape(printable(text))
