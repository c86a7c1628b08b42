"""The rules between rooms, read from the source: what each may import, print and open."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ckptconv"
MODULES = sorted(PACKAGE.rglob("*.py"))
FRAMEWORKS = {"torch", "mindspore", "keras", "tensorflow", "tf_keras"}
PICKLES = {"pickle", "marshal", "shelve", "dill", "joblib"}
FILES = {"h5py", "zipfile", "tarfile", "safetensors", "mmap"}

LOW = ("spelling", "errors", "io", "tensors")
MODEL = (*LOW, "checkpoint", "graph")
STEPS = (*MODEL, "options", "dialects", "codegen")
ALL = (*STEPS, "codecs", "formats", "passes", "report", "_version")
STORY = (*ALL, "pipeline")
FACE = (*STORY, "api", "batch", "live", "inspection", "verification")
ROOMS = {
    # room → the rooms it may import
    "spelling": (),
    "errors": ("spelling",),
    "_version": (),
    "io": ("spelling", "errors"),
    "tensors": ("spelling", "errors", "io"),
    "codecs": LOW,
    "checkpoint": LOW,
    "formats": (*LOW, "codecs", "checkpoint"),
    "graph": (*LOW, "checkpoint"),
    "options": MODEL,
    "dialects": (*MODEL, "options"),
    "codegen": (*MODEL, "options"),
    "passes": STEPS,
    "report": (*STEPS, "passes"),
    "pipeline": ALL,
    "networks": STORY,
    "api": (*STORY, "networks"),
    "batch": (*STORY, "networks", "api"),
    "live": (*STORY, "api"),
    "inspection": (*STORY, "api"),
    "verification": (*STORY, "api", "networks"),
    "cli": FACE,
    "__init__": (*FACE, "networks"),
    "__main__": ("cli",),
}
REGISTRIES = ("__init__.py", "formats/registry.py", "dialects/__init__.py")
"""Where a module may be imported by a name that is computed: rows name it."""
JUDGES = ("verification/frameworks/", "live/", "codegen/cells/")
"""Where the frameworks themselves may be imported."""


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a file imports, also inside functions and by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _is_import(node.func):
            first = node.args[0] if node.args else None
            yield first.value if isinstance(first, ast.Constant) else "?computed"


def _is_import(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__", "exec", "eval", "run_module", "run_path")


def offences(where: str, source: str) -> list[str]:
    """Return what a module of the package imports and may not."""
    own = where.split("/")[0].removesuffix(".py")
    allowed = {own, *ROOMS[own]}
    found = []
    for name in set(imports(ast.parse(source))):
        parts = name.split(".")
        if name.startswith("."):
            found.append(f"{name}: a relative import")
        elif parts[0] == "ckptconv":
            inner = parts[1] if len(parts) > 1 else ""
            found += [name] if inner and inner in ROOMS and inner not in allowed else []
            if own not in ("__main__",) and name == "ckptconv.__init__":
                found.append(name)
        elif (
            (parts[0] in FRAMEWORKS and not where.startswith(JUDGES))
            or parts[0] in PICKLES
            or (own in ("dialects", "passes", "graph") and parts[0] in FILES)
        ):
            found.append(name)
        elif name == "?computed" and where not in REGISTRIES and not where.startswith(JUDGES):
            found.append("an import by a computed name")
    return sorted(found)


def test_every_room_is_in_the_table():
    assert {room(path) for path in MODULES} == set(ROOMS)


def test_the_root_is_small():
    assert len(list(PACKAGE.glob("*.py"))) <= 13


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_rooms_import_what_the_table_allows(path):
    assert offences(place(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("formats/safetensors.py", "from ckptconv.options import ReadOptions"),
        ("formats/safetensors.py", "from ckptconv import passes"),
        ("formats/keras/h5.py", "import ckptconv.dialects.keras"),
        ("formats/mindspore.py", "def f():\n    from ckptconv.graph.kinds import KINDS"),
        ("codecs/tar.py", "from ckptconv.checkpoint import Checkpoint"),
        ("dialects/torch/__init__.py", "import torch"),
        ("dialects/torch/__init__.py", "import importlib\nimportlib.import_module('torch')"),
        ("dialects/torch/__init__.py", "__import__('torch')"),
        ("dialects/torch/__init__.py", "import importlib as i\ni.import_module('to' + 'rch')"),
        ("dialects/keras/__init__.py", "from ckptconv.passes import rename"),
        ("dialects/keras/__init__.py", "from ckptconv.formats.keras import h5"),
        ("dialects/keras/__init__.py", "import h5py"),
        ("passes/rename.py", "from ckptconv import formats"),
        ("passes/rename.py", "from ckptconv.api import load"),
        ("graph/graph.py", "from ckptconv.dialects import DIALECTS"),
        ("graph/graph.py", "from . import gates"),
        ("pipeline.py", "import pickle"),
        ("api.py", "from ckptconv.cli import app"),
        ("report.py", "import importlib\nimportlib.import_module(name)"),
    ],
)
def test_a_forbidden_import_is_seen(where, line):
    source = (PACKAGE / where).read_text()
    assert offences(where, source + "\n" + line + "\n") != []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_the_command_line_prints_or_exits(path):
    if room(path) == "cli":
        return
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    named = {c.id for c in calls if isinstance(c, ast.Name)}
    dotted = {ast.unparse(c) for c in calls if isinstance(c, ast.Attribute)}
    assert not {"print", "exit"} & named
    assert "sys.exit" not in dotted
    if room(path) in ("dialects", "passes", "graph", "codegen"):
        assert "open" not in named


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_the_command_line_knows_how_options_are_typed(path):
    """Everywhere else messages call ``spelling.option``; docstrings may say what is typed."""
    if room(path) == "cli":
        return
    tree = ast.parse(path.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [node.value for node in texts if isinstance(node.value, str) and id(node) not in told]
    assert [text for text in texts if re.search(r"(?<![\w-])--[a-z]", text)] == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_no_asserts(path):
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_files_and_functions_are_read_in_a_sitting(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, functions):
            first = node.body[1] if len(node.body) > 1 and ast.get_docstring(node) else node.body[0]
            assert (node.end_lineno or 0) - first.lineno < 40, node.name
