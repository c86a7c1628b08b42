"""What a call says beside its inputs that holds for any layer: masks, ``training``, and names.

Keras 3 records arguments as they were given, by place or by name. What no rule reads is refused.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

from ckptconv.dialects.keras.model_config import INERT
from ckptconv.dialects.keras.network import conv_lstm, merge
from ckptconv.dialects.keras.network.builder import Builder, Site, leaves, masked, values_in
from ckptconv.dialects.keras.network.promotion import OTHER_FLOATS
from ckptconv.dialects.keras.network.topology import is_model
from ckptconv.dialects.keras.recurrent import CLASSES
from ckptconv.dialects.keras.settings import policy
from ckptconv.graph.network import Value

_AT_RANDOM = {*INERT, *CLASSES, "RNN", "Bidirectional", "MultiHeadAttention", "Attention"}
"""Layers of which training changes what is dropped, and nothing else."""
_RECURRENT = (*CLASSES, *conv_lstm.CLASSES, "RNN", "Bidirectional")
_WEIGHTS, _CAUSAL = "return_attention_scores", "use_causal_mask"
_MASKS = ("query_mask", "value_mask", "key_mask", "attention_mask")
_COMMON = ("training", "mask")
_ARGUMENTS = {
    **dict.fromkeys(_RECURRENT, ("initial_state", "mask", "training")),
    **dict.fromkeys(("Attention", "AdditiveAttention"), ("mask", "training", _WEIGHTS, _CAUSAL)),
    "MultiHeadAttention": ("value", "key", *_MASKS, _WEIGHTS, "training", _CAUSAL),
    **dict.fromkeys(("GlobalAveragePooling1D", "Softmax"), ("mask",)),
}
"""Class → what stands behind the first argument of Keras 3's ``call``, in its order."""
_ANYWHERE = {*_COMMON, "query", "args"}
_SEVERAL = {*merge.RULES, *_RECURRENT, "Attention", "AdditiveAttention", "MultiHeadAttention"}
"""Layers that take more than one value."""


def bound(site: Site) -> Site:
    """Return the call of a layer or a model with names for what stands behind its first argument.

    Raises:
        LossyError: an argument that is not known, or that is neither a value nor a flag.
    """
    names = _ARGUMENTS.get(site.layer.class_name, _COMMON)
    first, *rest = site.kwargs.get("args") or [list(site.inputs)]
    if len(rest) > len(names):
        raise site.refuse("is called with more than it takes")
    kwargs = {**dict(zip(names, rest, strict=False)), **site.kwargs, "args": [first]}
    for name, value in kwargs.items():
        if name not in {*_ANYWHERE, *names} and value not in (None, False):
            raise site.refuse(f"is called with {name}, which is not known"[:100])
        told = (leaf is None or isinstance(leaf, Value) for leaf in leaves(value))
        if not (isinstance(value, bool) or all(told)):
            raise site.refuse(f"is called with an array or a number {_shown(name)}")
    inputs = tuple(values_in(first))
    if len(inputs) > 1 and site.layer.class_name not in _SEVERAL and not is_model(site.layer):
        raise site.refuse("is called with several values")
    return replace(site, inputs=inputs, kwargs=kwargs)


def _shown(name: str) -> str:
    return "among its inputs" if name == "args" else f"as its {name}"


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


def check_dtype(b: Builder, site: Site) -> None:
    """Say of a layer that it computes in other floats than this network does.

    Raises:
        LossyError: it computes in whole numbers; a Keras before 3 names its input's dtype there.
    """
    name = policy(site.layer.config).removeprefix("mixed_")
    if name in OTHER_FLOATS:
        b.remark(f"Keras computes layers in {name} where this network computes in float32.")
    elif b.version >= (3, 0) and name.startswith(("int", "uint", "bool")):
        raise site.refuse(f"computes in {name}")


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
