"""Every advice of the package, read from its source: what is to be typed stands by itself.

An advice is pieces between ``; `` and `` or ``: each is options and nothing else, or speaks without
giving any. On a terminal each piece has a line of its own.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptconv.errors import listed

PACKAGE = Path(__file__).resolve().parents[1] / "ckptconv"
OPTION = "<option>"
PIECES = re.compile(r"(?:,|;)? or |; ")
TYPED = re.compile(rf"{OPTION}( {OPTION})*")
Scope = dict[str, list[ast.expr]]
MOST = 16


def texts(node: ast.expr, scope: Scope) -> Iterator[str]:
    """Yield what an expression can be, with a mark for each option that has a value."""
    if isinstance(node, ast.Constant):
        yield str(node.value) if node.value is not None else ""
    elif isinstance(node, ast.JoinedStr):
        parts = itertools.product(*(texts(value, scope) for value in node.values))
        yield from map("".join, itertools.islice(parts, MOST))
    elif isinstance(node, ast.FormattedValue):
        yield from texts(node.value, scope)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = itertools.product(texts(node.left, scope), texts(node.right, scope))
        yield from map("".join, itertools.islice(parts, MOST))
    elif isinstance(node, ast.IfExp):
        yield from (*texts(node.body, scope), *texts(node.orelse, scope))
    elif isinstance(node, ast.Call):
        yield from called(node, scope)
    elif isinstance(node, ast.Name) and node.id in scope:
        inner = {name: values for name, values in scope.items() if name != node.id}
        yield from (text for value in scope[node.id] for text in texts(value, inner))
    else:
        yield "…"


def called(node: ast.Call, scope: Scope) -> Iterator[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name == "option":
        yield OPTION if len(node.args) > 1 else "…"
    elif method == "join" and isinstance(node.args[0], ast.GeneratorExp):
        assert isinstance(node.func, ast.Attribute)
        between = "".join(texts(node.func.value, scope))
        yield from (between.join([text, text]) for text in texts(node.args[0].elt, scope))
    elif name in scope:
        inner = {other: values for other, values in scope.items() if other != name}
        yield from (text for value in scope[name] for text in texts(value, inner))
    else:
        yield "…"


def scope_of(tree: ast.AST) -> Scope:
    """Return name → what it is given, or, of a function, what it returns."""
    found: Scope = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.FunctionDef):
            returned = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value]
            found.setdefault(node.name, []).extend(returned)
    return found


@functools.cache
def scope_in(path: Path) -> Scope:
    return scope_of(ast.parse(path.read_text()))


def imported(tree: ast.AST) -> Scope:
    """Return what functions return that a module has of others in the package."""
    found: Scope = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ckptconv."):
            path = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            scope = scope_in(path)
            names = {alias.name for alias in node.names} & scope.keys() - {"option"}
            found |= {name: scope[name] for name in names}
    return found


def advice(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    outer = imported(tree) | scope_of(tree)
    for function in functions:
        scope = outer | scope_of(ast.Module(function.body, []))
        for node in ast.walk(function):
            named = isinstance(node, ast.keyword) and node.arg == "hint"
            given = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("hint")
            if isinstance(node, ast.keyword | ast.Assign) and (named or given):
                yield from texts(node.value, scope)


def mixed(text: str) -> list[str]:
    return [p for p in PIECES.split(text) if OPTION in p and not TYPED.fullmatch(p)]


ADVICE = {
    f"{path.relative_to(PACKAGE)}: {text}": text
    for path in sorted(PACKAGE.rglob("*.py"))
    for text in advice(path.read_text())
    if OPTION in text
}


@pytest.mark.parametrize("text", ADVICE.values(), ids=list(ADVICE))
def test_what_is_to_be_typed_stands_by_itself(text: str) -> None:
    assert mixed(text) == []


def test_advice_is_found_wherever_it_stands() -> None:
    source = """
def keep(path):
    return f"{option('kinds', {path: 'X'})} to keep it"

def read(path):
    if path:
        hint = "or " + option("allow", ["x"])
    raise Error("…", hint=f"{option('drop', [path])} or {keep(path)}")
"""
    found = [*advice(source)]
    assert found == ["or <option>", "<option> or <option> to keep it"]
    assert [*map(mixed, found)] == [["or <option>"], ["<option> to keep it"]]
    assert len(ADVICE) > 25


def cut(tree: ast.AST) -> list[str]:
    """Return where the first of many names are joined without saying that there are more."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("', '.join", "' or '.join", "'; '.join")
        and re.search(r"\[:\w+\]\)*$", ast.unparse(node.args[0]))
    ]


def test_lists_are_cut_short_in_one_way() -> None:
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    assert {path.name: found for path, tree in trees.items() if (found := cut(tree))} == {
        "folders.py": ["' or '.join((_given(file) for file in files[:_ADVISED]))"]  # an advice
    }
    assert listed("abcde", 2) == "a, b and 3 more"
    assert listed("abcde", 5, " or ") == "a or b or c or d or e"
