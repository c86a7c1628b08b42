"""``mindspore.mint.nn``'s names: torch's, where mint has the layer, else ``mindspore.nn``'s."""

from __future__ import annotations

from ckptconv.dialects import mindspore
from ckptconv.dialects.columns import Lowered
from ckptconv.graph import Graph
from ckptconv.layers import MINT
from ckptconv.options import Options

lift = mindspore.lift


def lower(graph: Graph, options: Options) -> Lowered:
    """Return parameters under mint's names; raises as ``mindspore.lower`` does."""
    return mindspore.lower(graph, options, mint=MINT)
