"""``mindspore.mint.nn``'s names: torch's, where mint has the layer, else ``mindspore.nn``'s."""

from __future__ import annotations

from functools import partial

from ckptconv.dialects import mindspore
from ckptconv.dialects.mindspore.layers import FORMS as NN
from ckptconv.dialects.mindspore.layers import MINT
from ckptconv.graph.forms import Forms

FORMS: Forms = {**NN, **MINT}
lift = mindspore.lift
lower = partial(mindspore.lower, forms=FORMS)
