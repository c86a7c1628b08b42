"""A proof as one self-contained page: each layer and tensor, and pictures of gates and outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from html import escape
from importlib import resources
from string import Template

from ckptconv._version import __version__
from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import printable
from ckptconv.io.atomic import check_target
from ckptconv.options import StrPath
from ckptconv.tensors.writer import write_text
from ckptconv.verification.page import pictures
from ckptconv.verification.results.layers import VerifyReport
from ckptconv.verification.results.run import computed
from ckptconv.verification.results.tensors import Table, TensorDiff
from ckptconv.verification.stored_weights import stacking

Pair = tuple[TensorDiff, pictures.Side, pictures.Side]

_MAX_ROWS, _LONG = 1000, 20
_MAX_PICTURES = 500_000
"""Characters of pictures in a page; the rest is counted, not drawn."""
_PIECE = 1 << 20
_FAILED = ' class="failed"'
_FAILURES = ("FAILED", "differ", "only in", "shapes differ", "no counterpart")
_GATES = (
    "Values from blue (negative) over white (zero) to red. A line leads from a gate to the place "
    "where its rows were found in the other file; in the colour of failure where that is not the "
    "place of that gate, and dashed where they were found in none."
)
_OUTPUTS = (
    "How many outputs and final states are off by which power of ten; the line is what was allowed."
)


def write_page(
    path: StrPath,
    proof: VerifyReport,
    *,
    command: str = "",
    force: bool = False,
) -> None:
    """Write the page of a proof, whole or not at all.

    Args:
        proof: of ``verify`` (or ``replay``, which has no weights to show).
        command: what was run to get the proof.
        force: replace an existing file.

    Raises:
        CkptconvError: ``path`` cannot be written.
    """
    sources = [file for graph in proof.graphs or () for file in graph.origin.files]
    check_target(path, sources, force=force)
    write_text(path, page(proof, command=command), force=force)


def page(proof: VerifyReport, *, command: str = "") -> str:
    """Return the page as HTML; see ``write_page``."""
    (_, headers, layers), *tables = proof.tables()
    tables = [("layers", headers, layers), _tensors(proof), *tables]
    sections = [_section(*table) for table in tables]
    pairs = list(_pairs(proof))
    drawn = _figures("gates, before and after", _GATES, (_drawn(*pair) for pair in pairs))
    sections.insert(len(sections) if proof.ok else 1, drawn)
    sections.append(_figures("how far outputs are apart", _OUTPUTS, _histograms(proof)))
    sections.sort(key=lambda section: _FAILED not in section)  # what failed is read first
    sections.append(_notes(proof.notes))
    sections.append(_made_from(proof, command))
    template = (
        resources.files("ckptconv.verification.page").joinpath("page.html").read_text("utf-8")
    )
    sides = (f"{side['path']} ({side['container']}, {side['framework']})" for side in _sides(proof))
    return Template(template).substitute(
        title=_text(f"{proof.source['path']} → {proof.target['path']}"),
        heading="Is it the same model?",
        state="good" if proof.ok else "bad",
        verdict=_text(_answer(proof, pairs)),
        sides=_text(" → ".join(sides)),
        sections="\n".join(section for section in sections if section),
        version=_text(__version__),
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _answer(proof: VerifyReport, pairs: Sequence[Pair]) -> str:
    """Answer in a sentence; a failure names what failed first, and why."""
    if proof.ok:
        return f"Yes: {proof.verdict.removeprefix('the same model: ')}."
    failed = proof.failures
    more = f" And {len(failed) - 1} more." if len(failed) > 1 else ""
    moved = pictures.moved(*pairs[0][1:]) if pairs and not pairs[0][0].converted else ""
    return f"No: {failed[0]}.{more}" + (f" Gates are exchanged: {moved}." if moved else "")


def _sides(proof: VerifyReport) -> Iterable[dict[str, str]]:
    return proof.source, proof.target


def _tensors(proof: VerifyReport) -> Table:
    """Return what was compared of each tensor, and what was found."""
    rows: list[tuple[str, ...]] = []
    for t in (tensor for layer in proof.layers for tensor in layer.tensors):
        shape = "×".join(map(str, t.shapes[0] or t.shapes[1] or ())) or "1"
        rows.append((t.a, t.b, shape, t.how, t.verdict))
    return "tensors", ("source", "target", "canonical shape", "compared", "verdict"), rows


def _section(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a list that can be folded away, what failed first."""
    if not rows:
        return ""
    states = _states(rows)
    ordered = sorted(zip(states, rows, strict=True), key=lambda pair: not pair[0])
    failures = sum(map(_failed, rows))
    head = "".join(f'<th scope="col">{_text(header)}</th>' for header in headers)
    body = "\n".join(_row(headers, row, failed=state) for state, row in ordered[:_MAX_ROWS])
    more = f"<p>and {len(rows) - _MAX_ROWS} more</p>" if len(rows) > _MAX_ROWS else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
    wide = f'<div class="wide" tabindex="0" role="region" aria-label="{_text(title)}">{table}</div>'
    count = f"{len(rows)}, {failures} failed" if failures else f"{len(rows)}"
    opened = " open" if failures or len(rows) <= _LONG else ""
    summary = f'<summary><h2>{_text(title)} <span class="soft">({count})</span></h2></summary>'
    return f"<details{opened}>{summary}\n{wide}{more}</details>"


def _failed(row: Sequence[str]) -> bool:
    return any(cell.startswith(_FAILURES) for cell in row[1:])


def _states(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Return which rows failed; an indented one belongs to the row before it."""
    states: list[bool] = []
    for row in rows:
        states.append(states[-1] if row[0].startswith(" ") and states else _failed(row))
    return states


def _row(headers: Sequence[str], row: Sequence[str], *, failed: bool) -> str:
    state = _FAILED if failed else ""
    return f"<tr{state}>" + "".join(map(_cell, headers, row)) + "</tr>"


def _cell(header: str, value: str) -> str:
    state = "good" if value == "ok" else "bad" if value.startswith(_FAILURES) else ""
    content = f'<span class="{state}">{_text(value)}</span>' if state else _text(value)
    return f'<td data-head="{_text(header)}">{content}</td>'


def _figures(title: str, legend: str, figures: Iterator[str]) -> str:
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
    summary = f"<summary><h2>{_text(title)}</h2></summary>"
    legend = f'<p class="soft">{_text(legend)}</p>'
    figures_ = f'<div class="figures">\n{body}\n</div>{more}'
    return f"<details open>{summary}{legend}\n{figures_}</details>" if drawn else ""


def _pairs(proof: VerifyReport) -> Iterator[Pair]:
    """Yield each pair of tensors with stacked gates, those that differ first."""
    if proof.graphs is None:
        return
    stacked = [stacking(graph) for graph in proof.graphs]
    tensors = [t for layer in proof.layers for t in layer.tensors if t.a and t.b]
    for found in sorted(tensors, key=lambda t: t.converted):
        if found.a in stacked[0] and found.b in stacked[1] and len(found.shapes[0] or ()) == 2:
            one, other = (
                pictures.Side(graph.origin.tensors[name], at[name])
                for graph, name, at in zip(proof.graphs, (found.a, found.b), stacked, strict=True)
            )
            yield found, one, other


def _drawn(found: TensorDiff, one: pictures.Side, other: pictures.Side) -> str:
    caption = f"{found.a} → {found.b}: {found.verdict}"
    return _figure(pictures.gates(one, other, caption), caption, failed=not found.converted)


def _histograms(proof: VerifyReport) -> Iterator[str]:
    for what, run in sorted(proof.runs, key=lambda pair: pair[1].ok):
        caption = f"{what}: {computed(run)} against {run.against}"
        drawing = pictures.histogram(run.difference, run.tolerance, caption)
        yield _figure(drawing, caption, failed=not run.ok)


def _figure(drawing: str, caption: str, *, failed: bool) -> str:
    state = _FAILED if failed else ""
    return f"<figure{state}>{drawing}<figcaption>{_text(caption)}</figcaption></figure>"


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes[:_MAX_ROWS])
    return f"<h2>notes</h2>\n<ul>{items}</ul>" if items else ""


def _made_from(proof: VerifyReport, command: str) -> str:
    """Say how to get this page again, and of which files it speaks."""
    items = [f"<code>{_text(command)}</code>"] if command else []
    for graph in proof.graphs or ():
        digests = ", ".join(_digests(graph.origin))
        items.append(f"{_text(graph.origin.path)}: SHA-256 <code>{digests}</code>")
    if proof.network is not None:
        digest = proof.network.sha256
        items.append(f"{_text(proof.network.file)}: SHA-256 <code>{digest}</code>")
    body = "".join(f"<li>{item}</li>" for item in items)
    return f"<h2>made from</h2>\n<ul>{body}</ul>" if body else ""


def _digests(origin: Checkpoint) -> Iterator[str]:
    for source in origin.files:
        state = hashlib.sha256()
        for start in range(0, source.size, _PIECE):
            state.update(source.read(start, min(_PIECE, source.size - start)))
        yield state.hexdigest()


def _text(text: str) -> str:
    return escape(printable(text))
