"""``mindspore.mint.nn``'s names: torch's, where mint has the layer, else ``mindspore.nn``'s."""

from __future__ import annotations

from ckptconv.dialects import mindspore
from ckptconv.dialects.state_dict import Lowered
from ckptconv.graph.graph import Graph
from ckptconv.graph.kinds import MINT
from ckptconv.options import Options

lift = mindspore.lift


def lower(graph: Graph, options: Options) -> Lowered:
    """Return parameters under mint's names; raises as ``mindspore.lower`` does."""
    return mindspore.lower(graph, options, mint=MINT)
