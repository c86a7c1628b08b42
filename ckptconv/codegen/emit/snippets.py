"""Cells and functions that a generated module copies: only those that its text names."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files


@lru_cache
def _definitions(target: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return name → (source, names it uses) of a target's cells and functions, in order."""
    folder, found = files("ckptconv.codegen.cells"), {}
    for name in (target, f"{target}_functions"):
        source = folder.joinpath(f"{name}.py").read_text("utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                used = frozenset(names_in(node))
                found[node.name] = (ast.get_source_segment(source, node) or "", used)
    return found


def names_in(tree: ast.AST) -> Iterable[str]:
    """Yield the plain names that a piece of code reads."""
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def names(target: str) -> frozenset[str]:
    """Return what no variable or layer of a generated module may be called."""
    return frozenset(_definitions(target))


def needed(target: str, text: str) -> list[str]:
    """Return the sources of what the text uses, and of what that uses, in order."""
    known = _definitions(target)
    wanted, queue = set[str](), [name for name in names_in(ast.parse(text)) if name in known]
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue += [other for other in known[name][1] if other in known]
    return [source for name, (source, _) in known.items() if name in wanted]
