"""The import rules between rooms, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ckptconv"
MODULES = sorted(PACKAGE.rglob("*.py"))
FRAMEWORKS = {"torch", "mindspore", "keras", "tensorflow", "tf_keras"}
MAY_IMPORT_FRAMEWORKS = {
    "live.py",
    *(f"codegen/cells/{name}.py" for name in ("torch", "mindspore")),  # what modules copy
    *(f"verification/frameworks/{name}.py" for name in ("runner", "torch", "keras", "mindspore")),
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def touches(names: set[str], *packages: str) -> set[str]:
    return {n for n in names for p in packages if n == p or n.startswith(p + ".")}


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_frameworks_stay_out(path):
    if room(path) not in MAY_IMPORT_FRAMEWORKS:
        assert not touches(imports(path), *FRAMEWORKS)


@pytest.mark.parametrize("path", [p for p in MODULES if "formats" in p.parts], ids=room)
def test_formats_know_no_layers(path):
    forbidden = ("dialects", "graph", "api", "stages", "report", "verification")
    assert not touches(imports(path), *(f"ckptconv.{name}" for name in forbidden))


@pytest.mark.parametrize("path", [p for p in MODULES if "dialects" in p.parts], ids=room)
def test_dialects_open_no_file(path):
    names = imports(path)
    assert not touches(names, "h5py", "zipfile", "safetensors", "io", "ckptconv.formats")
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not [c for c in calls if isinstance(c, ast.Name) and c.id == "open"]


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_only_the_command_line_prints_or_exits(path):
    if room(path).startswith("cli/"):
        return
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    named = {c.id for c in calls if isinstance(c, ast.Name)}
    dotted = {ast.unparse(c) for c in calls if isinstance(c, ast.Attribute)}
    assert not {"print", "exit"} & named
    assert "sys.exit" not in dotted


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_no_asserts_and_no_pickle(path):
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not touches(imports(path), "pickle", "marshal", "shelve", "dill")
