"""Reports as a person reads them: tables on stdout."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ckptconv.cli.tables import Branch, counted, print_table, print_texts, print_tree
from ckptconv.dialects import loading
from ckptconv.errors import listed, plural, printable
from ckptconv.graph.gates import CANONICAL
from ckptconv.spelling import quoted

if TYPE_CHECKING:
    from ckptconv.report import LayerEntry, Report

T = TypeVar("T")
_WIDE, _SHOWN, _TOLD = 200, 4, 8


def print_report(report: Report) -> None:
    """Print what was done: a row a layer, its constructor call, what to know, what was left out."""
    source, target = report.source, report.target
    verb = "wrote" if report.written else "would write"
    size = (
        f"{counted(len(report.tensors), 'tensor')}, {sum(e.nbytes for e in report.tensors):,} bytes"
    )
    print_texts(
        [
            f"{verb} {target['path']} ({target['container']}, {target['framework']}): {size}",
            f"from {source['path']} ({source['container']}, {source['framework']})",
            "",
        ]
    )
    print_table(
        ("layer", "kind", "sizes", "operations", "source → target"),
        [_layer_row(layer) for layer in report.layers],
    )
    if not report.network:  # or it has them, and those that no call makes
        _print_constructors([layer for layer in report.layers if layer.constructor])
    print_texts(_remarks(report))
    if report.written:
        print()
        for line in _loading(report):
            print(printable(line))


def _print_constructors(built: Sequence[LayerEntry]) -> None:
    """Print each call on a line of its own, however long, so that it can be copied."""
    if not built:
        return
    print("the layers of the target:")
    for layer in built:
        print(printable(f"{layer.constructor}  # {_shown(layer)}"))
    unknown = ((_shown(layer), "; ".join(layer.unknown)) for layer in built if layer.unknown)
    for what, paths in _grouped(unknown):
        print_texts([f"# not in the source of {_listed(paths, 'layers')}: {what}"], "#   ")
    print()


def _loading(report: Report) -> tuple[str, ...]:
    """Return the lines of Python that load what was written."""
    path = report.target["path"]
    if not report.network:
        return loading(report.target["framework"], report.target["container"], path)
    folder, name = os.path.split(report.network)
    seen = (f"import sys; sys.path.insert(0, {folder!r})",) if folder else ()
    module = name.removesuffix(".py")
    return (*seen, f"import {module}", f"network = {module}.load({path!r})")


def _shown(layer: LayerEntry) -> str:
    return layer.path or "(root)"


def _layer_row(layer: LayerEntry) -> tuple[str, ...]:
    operations = dict.fromkeys(op for entry in layer.tensors for op in entry.operations)
    gates = ",".join(CANONICAL.get(layer.kind.removesuffix("Cell"), ""))
    done = "; ".join(operations) or "none"
    sizes = " ".join("×".join(map(str, entry.shape)) or "1" for entry in layer.tensors[:2])
    return (
        _shown(layer),
        layer.kind,
        sizes,
        f"{done} (gates {gates})" if gates else done,
        "\n".join(map(printable, _arrow(layer))),
    )


def _arrow(layer: LayerEntry) -> list[str]:
    """Name the tensors that change their name or have no single source; count the others.

    Names that stand under the layer's path on both sides stand here without it.
    """
    changed = []
    for entry in (entry for entry in layer.tensors if entry.sources != [entry.target]):
        own = f"{layer.path}." if layer.path else ""
        inside = all(name.startswith(own) for name in (entry.target, *entry.sources))
        old, *more, new = (
            name.removeprefix(own if inside else "")
            for name in (*(entry.sources or ["added"]), entry.target)
        )
        changed.append(f"{' + '.join([old, *more])} → {new}")
    same = len(layer.tensors) - len(changed)
    return changed + ([f"{plural(same, 'name')} kept"] if same else [])


def _remarks(report: Report) -> Iterator[str]:
    """Yield what the user must know first, then how layers are known and what was left out."""
    for note in report.notes:
        yield f"note: {note}"
    noted = ((_shown(layer), note) for layer in report.layers for note in layer.notes)
    for note, paths in _grouped(noted):
        yield f"{_listed(paths, 'layers')}: note: {note}"
    for evidence, paths in _grouped((_shown(layer), layer.evidence) for layer in report.layers):
        known = "of" if evidence == "no known layer" else "known by"
        yield f"{known} {evidence}: {_listed(paths, 'layers')}"
    yield from left_out(report.omitted)


def left_out(omitted: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each rule; rules that begin alike are one, with the rest of each."""
    rules = ((name, *rule.partition(": ")[::2]) for name, rule in omitted.items())
    for head, entries in _grouped(((name, said), head) for name, head, said in rules):
        told = dict.fromkeys(said for _, said in entries)
        if len(told) > 1:
            shown = listed((f"{name} ({said})" for name, said in entries), _TOLD)
            yield f"left out: {head}: {shown}"
        else:
            rule = ": ".join(filter(None, [head, *told]))
            yield f"left out: {_listed([name for name, _ in entries], 'tensors')}: {rule}"


def _grouped(said: Iterable[tuple[T, str]]) -> list[tuple[str, list[T]]]:
    """Return (what is said, of what), in the order in which it is first said."""
    groups: dict[str, list[T]] = {}
    for name, text in said:
        groups.setdefault(text, []).append(name)
    return list(groups.items())


def _listed(names: Sequence[str], what: str) -> str:
    shown = listed(names, _SHOWN)
    return shown if len(names) <= _SHOWN else f"{len(names)} {what} ({shown})"


def print_inspection(description: dict[str, Any]) -> None:
    """Print what ``inspect`` found: totals, the modules as a tree by their paths, remarks."""
    print_texts(_inspection_head(description))
    root = (os.path.basename(description["path"]), description["classes"].get(""))
    branches = {"": Branch(": ".join(filter(None, root)))}
    for module in description["modules"]:
        branch = _branch(branches, module["path"], description["classes"])
        branch.label = _module_label(module)
        for tensor in module["tensors"]:
            branch.add(_tensor_label(tensor))
    if description["modules"]:
        print_tree(branches[""])
    print_texts(left_out(description["omitted"]))
    if not description["choices"]:  # or they are the note
        print_texts(f"note: {note}" for note in description["notes"])


def _inspection_head(description: dict[str, Any]) -> Iterator[str]:
    told = [f"{key} {value}" for key, value in description["metadata"].items()]
    formats = [description["container"], description["framework"], *told]
    yield f"{description['path']}: {', '.join(filter(None, formats)) or 'several models'}"
    for choice in description["choices"]:
        sizes = f"{counted(choice.get('tensors', 0), 'tensor')}, {choice.get('bytes', 0):,} bytes"
        yield f"--select {quoted(choice['select'])}: {choice.get('error', sizes)}"
    if not description["choices"]:
        yield (
            f"{counted(description['tensors'], 'tensor')}, "
            f"{counted(description['parameters'], 'parameter')}, {description['bytes']:,} bytes"
        )


def _branch(branches: dict[str, Branch], path: str, classes: dict[str, str]) -> Branch:
    """Return the branch of a module, made with all above it where they are missing."""
    missing: list[str] = []
    while path not in branches:
        missing.append(path)
        path = path.rpartition(".")[0]
    for below in reversed(missing):
        label = below.rpartition(".")[2] + (f": {classes[below]}" if below in classes else "")
        branches[below] = branches[path].add(label)
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
