"""The body of a generated forward: ``x`` for the main chain, names for the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptconv.codegen.emit.expressions import EXPRESSIONS, expression
from ckptconv.codegen.emit.names import identifier
from ckptconv.graph.network import Network, Node

_OWN_NAME = re.compile(r"(mask|state|h|c)(?:_\d+)?")
_LONGEST_LINE = 50
_LONGEST_NAME = 24
_CALLED = ("recurrent", "cell", "stub")
_DEEPEST = 3


@dataclass
class _Waiting:
    """An expression that waits for the node that takes it."""

    text: str
    atom: bool
    depth: int


@dataclass
class Forward:
    """Lines of ``forward``, written node by node.

    Attributes:
        modules: name of a node's first output → the module it calls, as ``self.…``.
        stubs: the same for functions to be written by hand.
        reserved: what no variable may be called.
    """

    network: Network
    target: str
    modules: Mapping[str, str]
    stubs: Mapping[str, str]
    reserved: frozenset[str]
    lines: list[tuple[str, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, _Waiting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last_use: dict[str, int] = {}
        self.uses: dict[str, int] = {}
        for i, node in enumerate(self.network):
            for name in node.inputs:
                self.last_use[name], self.uses[name] = i, self.uses.get(name, 0) + 1
        for name in self.network.outputs:
            self.last_use[name] = len(self.network.nodes)
            self.uses[name] = self.uses.get(name, 0) + 1
        taken: set[str] = set(self.reserved)
        for value in self.network.inputs:
            self.variables[value.name] = identifier(value.name, taken)
            taken.add(self.variables[value.name])
        self.parameters = list(self.variables.values())

    def write(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Return (lines as (left side, expression), what is returned)."""
        for i, node in enumerate(self.network):
            self._node(i, node)
        results = [self._peek(name)[0] for name in self.network.outputs]
        return self.lines, results

    def _node(self, i: int, node: Node) -> None:
        self._flush(i, node.inputs)
        for place, name in enumerate(node.inputs):
            if name in self.waiting and not self._may_stand(node, place, name):
                self._store(i, name)
        if len(self._written(node)[0]) > _LONGEST_LINE:
            for name in [name for name in node.inputs if name in self.waiting]:
                self._store(i, name)
        text, atom = self._written(node)
        depth = max((self._peek(name)[2] for name in node.inputs), default=0)
        for name in node.inputs:
            self.waiting.pop(name, None)
        if len(node.outputs) == 1:
            self.waiting[node.outputs[0]] = _Waiting(text, atom, depth + 1)
            if self.uses.get(node.outputs[0], 0) != 1:
                self._store(i + 1, node.outputs[0])
        else:
            self.lines.append((self._unpacked(i, node), text))

    def _written(self, node: Node) -> tuple[str, bool]:
        """Return the text of a node as its inputs stand now, and whether it can stand anywhere."""
        texts = []
        for place, name in enumerate(node.inputs):
            text, atom, _ = self._peek(name)
            texts.append(text if atom or self._delimited(node, place) else f"({text})")
        return self._text(node, texts)

    def _text(self, node: Node, texts: list[str]) -> tuple[str, bool]:
        module = self.modules.get(node.outputs[0])
        if node.op == "recurrent":
            return self._recurrent(node, texts, module or ""), True
        if node.op in ("parameter", "weight"):
            return module or "", True
        if node.op == "stub":
            return f"{self.stubs[node.outputs[0]]}({', '.join(texts)})", True
        if node.op == "cell":
            x, *states = texts
            return f"{module}({x}, {_as_one(states)})", True
        if module is not None:
            return f"{module}({', '.join(texts)})", True
        return expression(node.op, self.target, texts, node.arguments)

    def _recurrent(self, node: Node, texts: list[str], module: str) -> str:
        x, *states = texts
        mask = [states.pop(0)] if node.arguments.get("masked") else []
        given = [_as_one(states), *mask] if states else [f"mask={text}" for text in mask]
        return f"{module}({', '.join([x, *given])})"

    def _unpacked(self, i: int, node: Node) -> str:
        used = self.uses
        names = [self._variable(i + 1, name) if name in used else "_" for name in node.outputs]
        if node.op != "recurrent":
            return ", ".join(names)
        y, *states = names
        if all(state == "_" for state in states):
            return f"{y}, _"
        return f"{y}, {_as_one(states)}"

    def _may_stand(self, node: Node, place: int, name: str) -> bool:
        """Tell whether a waiting expression can be written inside of a node's."""
        waiting = self.waiting[name]
        if waiting.depth >= _DEEPEST or len(waiting.text) > _LONGEST_LINE:
            return False
        if node.outputs[0] in self.modules or node.op in _CALLED:
            return True
        template = EXPRESSIONS[node.op].template(self.target, node.arguments)
        if "{all}" in template:
            return sum(len(self._peek(n)[0]) for n in node.inputs) < _LONGEST_LINE
        return template.count(f"{{{place}}}") == 1

    def _delimited(self, node: Node, place: int) -> bool:
        """Tell whether one of a node's values stands between commas and brackets."""
        if node.outputs[0] in self.modules or node.op in _CALLED:
            return True
        marks = [f"V{i}V" for i in range(len(node.inputs))]
        text, atom = expression(node.op, self.target, marks, node.arguments)
        near = rf"{marks[place]}[.\[]|[!=<>*/+-] {marks[place]}|{marks[place]} [!=<>*/+-]"
        return atom and not re.search(near, text)

    def _peek(self, name: str) -> tuple[str, bool, int]:
        if name in self.waiting:
            waiting = self.waiting[name]
            return waiting.text, waiting.atom, waiting.depth
        return self.variables[name], True, 0

    def _flush(self, i: int, wanted: tuple[str, ...]) -> None:
        """Give variables to what waits and is not taken now."""
        for name in [name for name in self.waiting if name not in wanted]:
            self._store(i, name)

    def _store(self, i: int, name: str) -> None:
        text = self.waiting.pop(name).text
        self.lines.append((self._variable(i, name), text))

    def _variable(self, i: int, name: str) -> str:
        """Choose a variable: ``x`` where nothing that is needed later stands in it."""
        busy = {
            variable
            for value, variable in self.variables.items()
            if self.last_use.get(value, -1) >= i
        }
        taken = busy | self.reserved
        match = _OWN_NAME.fullmatch(name)
        wanted = match[1] if match else "x"
        if wanted in taken:
            longer = identifier(name[:_LONGEST_NAME], taken)
            wanted = _counted(wanted, taken) if match else longer
        self.variables[name] = wanted
        return wanted


def _as_one(states: list[str]) -> str:
    """Return states as layers take and give them: one alone, or several in brackets."""
    return f"({', '.join(states)})" if len(states) > 1 else states[0]


def _counted(name: str, taken: set[str] | frozenset[str]) -> str:
    count = 2
    while f"{name}_{count}" in taken:
        count += 1
    return f"{name}_{count}"
