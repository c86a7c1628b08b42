"""``mindspore.mint.nn``: torch's names where it has the layer, ``mindspore.nn``'s elsewhere."""

from __future__ import annotations

from functools import partial

from ckptconv.dialects.mindspore import lift, lift_with_network
from ckptconv.dialects.mindspore import lower as lower_nn
from ckptconv.dialects.mindspore.layers import FORMS as NN
from ckptconv.dialects.mindspore.layers import MINT
from ckptconv.graph.forms import Forms

__all__ = ["FORMS", "lift", "lift_with_network", "lower"]

FORMS: Forms = {**NN, **MINT}
lower = partial(lower_nn, forms=FORMS)
