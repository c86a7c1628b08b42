"""What a call says beside its inputs that holds for any layer: their masks, and ``training``."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

from ckptconv.dialects.keras.model_config import INERT
from ckptconv.dialects.keras.network.builder import Builder, Site, masked
from ckptconv.dialects.keras.network.topology import is_model
from ckptconv.dialects.keras.recurrent import CLASSES
from ckptconv.graph.network import Value

_AT_RANDOM = {*INERT, *CLASSES, "RNN", "Bidirectional", "MultiHeadAttention", "Attention"}
"""Layers of which training changes what is dropped, and nothing else."""


def with_masks(site: Site) -> Site:
    """Return a call whose inputs have the masks that it gives them by name.

    A list has one for each; what it has none for is without, but for the inputs of a model.
    """
    given = site.kwargs.get("mask")
    masks = (given if isinstance(given, list) else [given])[: len(site.inputs)]
    bare = isinstance(given, list) and not is_model(site.layer)
    inputs = (
        masked(x, mask if isinstance(mask, Value) else None if bare else x.mask)
        for x, mask in zip_longest(site.inputs, masks)
    )
    return replace(site, inputs=tuple(inputs))


def require_inference(b: Builder, site: Site) -> None:
    """Say of a call that it trains, which Keras 3 does not do in ``predict``.

    Raises:
        LossyError: a Keras before did, and something depends on the batch then.
    """
    if site.kwargs.get("training") is not True:
        return
    if b.version < (3, 0) and site.layer.class_name not in _AT_RANDOM:
        raise site.refuse("is called with training=True, which changes what it predicts")
    b.remark(f"{site.where} is called in training mode; here it computes as for inference.")
