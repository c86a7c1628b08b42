"""A Network as a Python module of the target framework: what a person would have written.

Every name comes through ``names``, every number through ``text.number``, every call from a table;
nothing else of a source file reaches the text.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping
from dataclasses import replace

from ckptconv.codegen.emit import modules as calls
from ckptconv.codegen.emit import snippets
from ckptconv.codegen.emit.forward import Forward
from ckptconv.codegen.emit.names import identifier, printable
from ckptconv.codegen.emit.targets import TARGETS, Target
from ckptconv.codegen.emit.text import WIDTH, call
from ckptconv.errors import CkptconvError, DialectError, listed
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.network import Network, Node
from ckptconv.spelling import option

_SHOWN = 10


def emit(
    network: Network, graph: Graph, target: str, columns: calls.Columns, *, weights: str = ""
) -> str:
    """Return the text of a module with Net, load and, for MindSpore, export and open_mindir.

    Args:
        graph: the layers, under paths whose parts are identifiers (``names.paths``).
        target: ``torch`` or ``mindspore``.
        columns: the table of layers: the target's calls, the source's defaults.
        weights: the file that ``load`` is for; its suffix says how it is read.

    Raises:
        CkptconvError: a layer that the target cannot hold, or parameters that the network does
            not use.
    """
    goal = TARGETS[target]
    _check_all_used(network, graph)
    built, called = _build(network, graph, goal, columns)
    stubs = _stubs(network, snippets.names(goal.name))
    reserved = frozenset([*snippets.names(goal.name), *goal.words, *stubs.values()])
    body = Forward(network, goal.name, called, stubs, reserved)
    lines, results = body.write()
    text = [f"class Net({goal.base}):", "    def __init__(self):", "        super().__init__()"]
    text += [*built, ""]
    text += goal.signature(body.parameters)
    text += [row for left, right in lines for row in _assignment(left, right)]
    line = f"        return {', '.join(results)}"
    text += [line] if len(line) <= WIDTH else call("return (", results, 8)
    net = "\n".join(text)
    parts = [
        *snippets.needed(goal.name, net),
        *_written(network, stubs),
        net,
        *goal.functions(network, weights),
    ]
    code = "\n\n\n".join(parts)
    imports = goal.imports(frozenset(snippets.names_in(ast.parse(code))))
    header = [*_docstring(network, goal, body.parameters), "", *imports]
    return "\n".join(header) + f"\n\n\n{code}\n"


def _stubs(network: Network, taken: frozenset[str]) -> dict[str, str]:
    """Return output → name of the function that is left to be written."""
    names: dict[str, str] = {}
    found: dict[str, str] = {}
    for node in network:
        if node.op == "stub":
            said = str(node.arguments["about"])
            names.setdefault(said, identifier(said, [*taken, *names.values()]))
            found[node.outputs[0]] = names[said]
    return found


def _written(network: Network, stubs: Mapping[str, str]) -> list[str]:
    """Return the functions that are left to be written."""
    weights = {node.outputs[0] for node in network if node.op == "parameter"}
    counts: dict[str, set[int]] = {}
    held: set[str] = set()
    for node in network:
        if node.op == "stub":
            name = stubs[node.outputs[0]]
            counts.setdefault(name, set()).add(len(node.inputs))
            held |= {name} if weights & {*node.inputs} else set()
    last = "; its weights come last, as the source has them"
    return [
        f"def {name}({_given(found)}):\n"
        f'    """TO BE WRITTEN: what the layer computes{last if name in held else ""}."""\n'
        f'    raise NotImplementedError("{name}")'
        for name, found in counts.items()
    ]


def _given(counts: set[int]) -> str:
    """Return the arguments of a function that is called with as many values as this."""
    letters = "xyzuvw"
    few = len(counts) == 1 and max(counts) <= len(letters)
    return ", ".join(letters[: max(counts)]) or "x" if few else "*values"


def alive(network: Network) -> Network:
    """Leave out what no output needs."""
    needed, kept = set(network.outputs), []
    for node in reversed(network.nodes):
        if needed & {*node.outputs}:
            needed |= {*node.inputs}
            kept.append(node)
    return replace(network, nodes=tuple(reversed(kept)))


def _check_all_used(network: Network, graph: Graph) -> None:
    used = {node.layer for node in network}
    if unused := [layer.path for layer in graph if layer.path not in used]:
        raise DialectError(
            "the network does not use all layers that hold weights",
            expected="each layer of the file in its network",
            found=f"unused: {listed(unused, _SHOWN)}",
            hint=f"{option('drop', unused[:_SHOWN])}; it leaves them out",
        )


def _build(
    network: Network, graph: Graph, goal: Target, columns: calls.Columns
) -> tuple[list[str], dict[str, str]]:
    """Return the lines of ``__init__``, and what each node calls by its first output."""
    layers = {layer.path: layer for layer in graph}
    texts: dict[str, str] = {}
    called: dict[str, str] = {}
    free: dict[str, str] = {}
    taken = {path.split(".")[0] for path in layers}
    masked = {node.layer: node for node in network if node.arguments.get("masked")}
    for node in network:
        first = node.outputs[0]
        if node.layer is not None:
            built = masked.get(node.layer, node)  # whose cell takes what comes without a mask, too
            text = _layer_text(built, layers, network, goal, columns)
            if texts.setdefault(node.layer, text) != text:
                raise CkptconvError(
                    "a layer that is called twice with different settings", tensor=node.layer
                )
            called[first] = f"self.{node.layer}"
            if node.op == "weight":
                called[first] += f".{calls.weight(node, layers[node.layer], columns)}"
        elif text := calls.weightless(node, goal.name):
            name = identifier(first, [*taken, *free])
            free[name] = text
            called[first] = f"self.{name}"
    return _tree(texts, goal) + _assigned("self", free), called


def _layer_text(
    node: Node,
    layers: Mapping[str, Layer],
    network: Network,
    goal: Target,
    columns: calls.Columns,
) -> str:
    layer = layers.get(node.layer or "")
    if layer is None:
        raise DialectError("a network with a layer that has no weights", tensor=node.layer)
    return calls.module(node, layer, network, goal.name, columns)


def _tree(texts: Mapping[str, str], goal: Target) -> list[str]:
    """Return the assignments of layers; those below a path stand in a module of that name."""
    lines: list[str] = []
    groups = dict.fromkeys(
        path[:i] for path in texts for i in range(len(path)) if path[i] == "." or i == 0
    )
    places, used = {"": "self"}, (*snippets.names(goal.name), *goal.words)
    for group in groups:
        if group:
            places[group] = identifier(group.replace(".", "_"), (*places.values(), *used))
    for group, place in places.items():
        inside = {
            p.rpartition(".")[2]: t
            for p, t in texts.items()
            if p.rpartition(".")[0] == group and p not in groups
        }
        if group:  # which may be a layer itself
            head, arguments = calls.split(texts.get(group, f"{goal.base}()"))
            lines += call(f"{place} = {head}", arguments, 8)
        lines += _assigned(place, inside)
    for group in sorted((g for g in places if g), key=lambda g: -g.count(".")):
        owner, _, name = group.rpartition(".")
        lines.append(f"        {places.get(owner, 'self')}.{name} = {places[group]}")
    return lines


def _assigned(place: str, texts: Mapping[str, str]) -> list[str]:
    found = []
    for name, text in texts.items():
        head, arguments = calls.split(text)
        found += call(f"{place}.{name} = {head}", arguments, 8)
    return found


def _assignment(left: str, right: str) -> list[str]:
    line = f"        {left} = {right}"
    if len(line) <= WIDTH:
        return [line]
    if not calls.is_call(right):
        return call(f"{left} = (", [right], 8, comma="")
    head, arguments = calls.split(right)
    return call(f"{left} = {head}", arguments, 8)


def _docstring(network: Network, goal: Target, parameters: list[str]) -> list[str]:
    title = printable(network.title) or "A network"
    lines = [f'"""{title}, for {goal.title}.', "", "Inputs:"]
    for value, name in zip(network.inputs, parameters, strict=True):
        words = ["any" if n is None else str(n) for n in value.shape]
        words[:1] = ["batch"] if value.shape[:1] == (None,) else words[:1]
        lines.append(f"    {name}: {value.dtype} ({', '.join(words)})")
    for note in filter(None, (network.origin, *network.notes, *goal.notes(network))):
        lines += ["", *textwrap.wrap(printable(note, 400), WIDTH - 1)]
    return [*lines, '"""']
