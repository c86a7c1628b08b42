"""``roundtrip``: out to another framework and back, and what is left of every bit."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptconv import api, dialects, pipeline
from ckptconv.errors import ContainerError
from ckptconv.graph.graph import Graph
from ckptconv.io.atomic import check_target
from ckptconv.options import ReadKeywords, ReadOptions, StrPath, Target
from ckptconv.passes.restore.told import kinds
from ckptconv.spelling import option, public
from ckptconv.tensors.writer import Progress, write_text
from ckptconv.verification.diff import diff_graphs
from ckptconv.verification.results.tensors import DiffReport

if TYPE_CHECKING:
    from typing_extensions import Unpack


_SUMMED = "biases that were summed come back as their sum and zeros; {} keeps them for the way back"


@public(ReadKeywords)
def roundtrip(
    src: StrPath,
    *,
    via: Target,
    report: StrPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[ReadKeywords],
) -> DiffReport:
    """Convert a checkpoint to another framework and back, and compare bit for bit.

    Both files are written in a temporary folder beside ``src`` and removed. Biases that the other
    framework holds as a sum come back as that sum and zeros, which is a difference, unless the
    report of the way out gives them back.

    Args:
        src: a checkpoint.
        via: ``torch``, ``keras``, ``mindspore`` or ``mint``.
        report: a new file for the report of the way out, from which the way back undoes all.
        force: replace an existing report file.
        progress: called with the number of bytes just written, twice, and compared.
        options: those of ``load``; what they change is compared as changed.

    Returns:
        What came back otherwise, tensor by tensor.

    Raises:
        CkptconvError: one of the conversions is refused.

    Examples:
        >>> roundtrip("model.pt", via="keras", report="out.json").ok  # doctest: +SKIP
    """
    source = api.load(src, **options)
    if report is not None:
        check_target(report, source.origin.files, force=force)
    try:
        folder = tempfile.TemporaryDirectory(prefix=".ckptconv-", dir=os.path.dirname(src) or ".")
    except OSError as error:
        raise ContainerError(f"no room for a round trip: {error.strerror}", file=src) from None
    with folder as room:
        out = os.path.join(room, "out" + _suffix(via))
        back = os.path.join(room, "back" + _suffix(source.dialect, src))
        written = api.save(source, out, to=via, progress=progress).to_dict()
        if report is not None:
            text = json.dumps(written, ensure_ascii=False, indent=1)
            write_text(report, text, force=force)
        told = ReadOptions(restore=report).with_kinds(kinds(written, {}))
        returning = pipeline.read(out, told)
        api.save(returning, back, to=source.dialect, progress=progress)
        keras = source.dialect == "keras"
        again = api.load(back, kinds=options.get("kinds", ()) if keras else ())
        found = diff_graphs(source, _as_source(again, source), progress=progress)
    found.b["path"] = f"{found.a['path']} by way of {via}"
    found.left_out, found.notes = {found.a["path"]: written["omitted"]}, list(written["notes"])
    if written["restore"] and report is None:
        found.notes.append(_SUMMED.format(option("report", "FILE")))
    return found


def _as_source(back: Graph, source: Graph) -> Graph:
    """Give layers the order of the source's, which some containers do not keep."""
    order = {layer.path: i for i, layer in enumerate(source)}
    layers = sorted(back, key=lambda layer: order.get(layer.path, len(order)))
    return replace(back, layers=tuple(layers))


def _suffix(framework: str, path: StrPath = "") -> str:
    """Return the suffix of a path if the framework's files may have it, else its default."""
    known = dialects.dialect(framework).suffixes
    name = os.path.basename(os.fsdecode(path)).lower()
    fitting = [suffix for suffix in known if name.endswith(suffix)]
    return max(fitting, key=len, default=next(iter(known)))
