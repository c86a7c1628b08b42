"""Parameters of no layer that new paths have made a layer's, as ``fc_weight`` to ``fc.weight``.

Layers are recognised when a file is read, so what gets such a name later stays as it is stored: in
a framework of other axes or names it would be taken for a layer's weight and be none.
"""

from __future__ import annotations

from ckptconv.dialects import DIALECTS, Dialect
from ckptconv.errors import DialectError, listed
from ckptconv.graph.forms import slots, stored_by_row
from ckptconv.graph.graph import Graph, Layer, is_recurrent_name
from ckptconv.graph.kinds import PARAMETER
from ckptconv.spelling import option

_SHOWN = 4


def check_moved(graph: Graph, target: Dialect) -> Graph:
    """Refuse parameters that got a layer's names and stay as they are; among a framework's own
    files that is how its layers get theirs, and what goes home gets the names that it had.

    Raises:
        DialectError: names them, and the way in two steps.
    """
    if target.name == graph.dialect or graph.home is not None or all(map(_stays, graph)):
        return graph
    forms = DIALECTS[graph.dialect].forms
    rows = (slots(kind, forms) for kind in forms if stored_by_row(kind))
    names = {slot.name for row in rows for _, slot in row if slot}
    found = [layer.path for layer in graph if not _stays(layer) and _is_named(layer, names)]
    if not found:
        return graph
    raise DialectError(
        f"named like a layer's parameter by {option('rename')} or {option('map')}, after layers "
        "were recognised",
        tensor=listed(found, _SHOWN),
        hint=f"{option('to', graph.dialect)}; it writes these names to a file, and in that one "
        "layers are recognised: convert it in turn",
    )


def _stays(layer: Layer) -> bool:
    """Tell whether a layer is no parameter alone, or has the last part of its name as before."""
    return layer.kind != PARAMETER or _last(layer.path) == _last(layer.hint_path)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _is_named(layer: Layer, names: set[str]) -> bool:
    above, _, name = layer.path.rpartition(".")
    return bool(above) and (name in names or is_recurrent_name(name))
