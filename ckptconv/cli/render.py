"""Reports as a person reads them: tables on stdout, progress on stderr.

Only the command line uses this module; rich is imported when there is something to show.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ckptconv.cli.tables import print_table, print_texts
from ckptconv.dialects import loading
from ckptconv.errors import printable
from ckptconv.graph.gates import CANONICAL

if TYPE_CHECKING:
    from ckptconv.report import LayerEntry, Report
    from ckptconv.tensors.writer import Progress

_LONG_WORK = 64 << 20
_WIDE, _SHOWN = 200, 4


@contextmanager
def progress_bar(src: str, *, enabled: bool) -> Iterator[Progress | None]:
    """Yield a callback that moves a bar on stderr; None where nobody would see it or need it."""
    size = os.path.getsize(src) if os.path.isfile(src) else 0
    if not (enabled and sys.stderr.isatty() and size >= _LONG_WORK):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing", total=size)
        yield lambda count: bar.advance(task, count)


@contextmanager
def count_bar(total: int, *, enabled: bool) -> Iterator[Callable[[], None]]:
    """Yield what counts one thing of many as done, on a bar with the time that is left."""
    if not (enabled and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (*Bar.get_default_columns(), MofNCompleteColumn())
    with Bar(*columns, console=console, transient=True, redirect_stdout=True) as bar:
        task = bar.add_task("converting", total=total)
        yield lambda: bar.advance(task)


def print_report(report: Report) -> None:
    """Print what was done: a row a layer, its constructor call, what to know, what was left out."""
    source, target = report.source, report.target
    verb = "wrote" if report.written else "would write"
    size = f"{len(report.tensors)} tensors, {sum(e.nbytes for e in report.tensors):,} bytes"
    print_texts(
        [
            f"{verb} {target['path']} ({target['container']}, {target['framework']})",
            f"from {source['path']} ({source['container']}, {source['framework']}): {size}",
            "",
        ]
    )
    print_table(
        ("layer", "kind", "sizes", "operations", "source → target"),
        [_layer_row(layer) for layer in report.layers],
    )
    _print_constructors([layer for layer in report.layers if layer.constructor])
    print_texts(_remarks(report))
    if report.written:
        print()
        for line in loading(target["framework"], target["container"], target["path"]):
            print(printable(line))


def _print_constructors(built: Sequence[LayerEntry]) -> None:
    """Print each call on a line of its own, however long, so that it can be copied."""
    if built:
        print("the layers of the target:")
        for layer in built:
            print(printable(f"{layer.constructor}  # {layer.path or '(root)'}"))
            if layer.unknown:
                print_texts([f"#   not in the source: {'; '.join(layer.unknown)}"], "#     ")
        print()


def _layer_row(layer: LayerEntry) -> tuple[str, ...]:
    operations = dict.fromkeys(op for entry in layer.tensors for op in entry.operations)
    gates = ",".join(CANONICAL.get(layer.kind.removesuffix("Cell"), ""))
    done = "; ".join(operations) or "none"
    sizes = " ".join("×".join(map(str, entry.shape)) or "1" for entry in layer.tensors[:2])
    return (
        layer.path or "(root)",
        layer.kind,
        sizes,
        f"{done} (gates {gates})" if gates else done,
        "\n".join(map(printable, _arrow(layer))),
    )


def _arrow(layer: LayerEntry) -> list[str]:
    """Name the tensors that change their name or have no single source; count the others."""
    changed = [
        f"{' + '.join(entry.sources) or 'added'} → {entry.target}"
        for entry in layer.tensors
        if entry.sources != [entry.target]
    ]
    same = len(layer.tensors) - len(changed)
    return changed + ([f"{same} under the same name"] if same else [])


def _remarks(report: Report) -> Iterator[str]:
    """Yield what the user must know first, then how layers are known and what was left out."""
    for note in report.notes:
        yield f"note: {note}"
    for layer in report.layers:
        for note in layer.notes:
            yield f"{layer.path or '(root)'}: note: {note}"
    for evidence, paths in _grouped((e.path or "(root)", e.evidence) for e in report.layers):
        yield f"known by {evidence}: {_listed(paths, 'layers')}"
    yield from _left_out(report.omitted)


def _left_out(omitted: Mapping[str, str]) -> Iterator[str]:
    for rule, names in _grouped(omitted.items()):
        yield f"left out: {_listed(names, 'tensors')}: {rule}"


def _grouped(said: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Return (what is said, of which names), in the order in which it is first said."""
    groups: dict[str, list[str]] = {}
    for name, text in said:
        groups.setdefault(text, []).append(name)
    return list(groups.items())


def _listed(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{len(names)} {what} ({shown}, …)"


def print_inspection(description: dict[str, Any]) -> None:
    """Print what ``inspect`` found: totals, the modules as a tree by their paths, remarks."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    print_texts(_inspection_head(description))
    root = (os.path.basename(description["path"]), description["classes"].get(""))
    tree = Tree(Text(printable(": ".join(filter(None, root)))))
    branches: dict[str, Any] = {"": tree}
    for module in description["modules"]:
        branch = _branch(branches, module["path"], description["classes"])
        branch.label = Text(printable(_module_label(module)))
        for tensor in module["tensors"]:
            branch.add(Text(printable(_tensor_label(tensor))))
    if description["modules"]:
        console.print(tree)
    print_texts(_left_out(description["omitted"]))
    print_texts(f"note: {note}" for note in description["notes"])


def _inspection_head(description: dict[str, Any]) -> Iterator[str]:
    told = [f"{key} {value}" for key, value in description["metadata"].items()]
    formats = [description["container"], description["framework"], *told]
    yield f"{description['path']}: {', '.join(filter(None, formats)) or 'several models'}"
    for choice in description["choices"]:
        sizes = f"{choice.get('tensors', 0)} tensors, {choice.get('bytes', 0):,} bytes"
        yield f"--select {choice['select']}: {choice.get('error', sizes)}"
    if not description["choices"]:
        yield (
            f"{description['tensors']} tensors, {description['parameters']:,} parameters, "
            f"{description['bytes']:,} bytes"
        )


def _branch(branches: dict[str, Any], path: str, classes: dict[str, str]) -> Any:
    """Return the tree's node of a module, made with all above it where they are missing."""
    from rich.text import Text

    missing: list[str] = []
    while path not in branches:
        missing.append(path)
        path = path.rpartition(".")[0]
    for below in reversed(missing):
        label = below.rpartition(".")[2] + (f": {classes[below]}" if below in classes else "")
        branches[below] = branches[path].add(Text(printable(label)))
        path = below
    return branches[path]


def _module_label(module: dict[str, Any]) -> str:
    """Return name, kinds and evidence; a kind that the file does not tell stands with ``or``."""
    name = module["path"].rpartition(".")[2] or "(root)"
    known = module["class"] if module["class"] not in (None, *module["kinds"]) else ""
    label = f"{name}: {' or '.join(module['kinds'])}" + (f" ({known})" if known else "")
    given = ", ".join(f"{key}={value!r}" for key, value in module["attributes"].items())
    given = given if len(given) <= _WIDE else f"{given[:_WIDE]}…"
    return f"{label}  [{module['evidence']}]" + (f"  {given}" if given else "")


def _tensor_label(tensor: dict[str, Any]) -> str:
    shape = "×".join(map(str, tensor["shape"])) or "scalar"
    stored = f" (stored as {tensor['stored']})" if tensor["stored"] != tensor["dtype"] else ""
    tied = f"  tied to {', '.join(tensor['tied'])}" if tensor["tied"] else ""
    return f"{tensor['name']}  {tensor['dtype']}{stored} {shape}{tied}"
