"""Attention, AdditiveAttention and MultiHeadAttention, with the masks of what they attend to."""

from __future__ import annotations

from ckptconv.dialects.keras.network.builder import Builder, Site, masked
from ckptconv.dialects.keras.network.structure import integer, moved
from ckptconv.errors import DialectError
from ckptconv.graph.network import Value

_NAMES = ("query", "value", "key")


def attention(b: Builder, site: Site) -> list[Value]:
    """Attention and AdditiveAttention: the query's masked steps are zeros."""
    query, value, key = _inputs(site)
    scores = _scores(b, site, query, key)
    mask = None if value.mask is None else _across(b, value.mask, 1)
    if _asked(site, "use_causal_mask") or site.get("causal"):
        mask = _both(b, mask, _causal(b, query, key))
    if mask is not None:
        scores = b.add("mask_scores", (scores, mask))
    weights = b.add("softmax", (scores,), axis=-1)
    made = b.add("matmul", (weights, value), (*query.shape[:2], value.shape[2]))
    if query.mask is not None:
        made = masked(b.add("fill_masked", (made, query.mask), value=0.0), query.mask)
    return [made, weights] if _asked(site, "return_attention_scores") else [made]


def _scores(b: Builder, site: Site, query: Value, key: Value) -> Value:
    shape = (*query.shape[:2], key.shape[1])
    additive = site.layer.class_name == "AdditiveAttention"
    mode = "additive" if additive else site.get("score_mode", default="dot")
    scale = _weight(b, site, "scale") if site.get("use_scale", default=additive) else None
    if mode == "dot":
        scores = b.add("matmul", (query, moved(b, key, (0, 2, 1))), shape)
        return scores if scale is None else b.add("multiply", (scores, scale))
    if mode not in ("additive", "concat"):
        raise site.refuse(f"Attention with the score {mode!r}"[:100])
    pairs = b.add("add", (_across(b, query, 2), _across(b, key, 1)), (*shape, key.shape[2]))
    if mode == "concat" and scale is not None:
        pairs = b.add("multiply", (pairs, scale))
    pairs = b.add("tanh", (pairs,))
    if mode == "additive" and scale is not None:
        pairs = b.add("multiply", (pairs, scale))
    scores = b.add("sum", (pairs,), shape, axes=(-1,), keep=False)
    if mode == "additive":
        return scores
    return b.add("multiply", (scores, _weight(b, site, "concat_score_weight")))


def _weight(b: Builder, site: Site, name: str) -> Value:
    return b.weight(b.part(site, name))


def multi_head(b: Builder, site: Site) -> list[Value]:
    """MultiHeadAttention: four Dense layers, and what stands between them."""
    if site.get("attention_axes") not in (None, 1, [1]):
        raise site.refuse("MultiHeadAttention over other axes than time")
    query, value, key = _inputs(site)
    heads, size = integer(site, "num_heads"), integer(site, "key_dim")
    sizes = {"query": size, "key": size, "value": site.get("value_dim") or size}
    values = {"query": query, "key": key, "value": value}
    mask = _seen(b, site, query, value, key)
    parts = [
        b.add("module", (values[n],), (*values[n].shape[:2], heads * sizes[n]),
              layer=b.part(site, n), name=n)
        for n in sizes
    ]  # fmt: skip
    told = _asked(site, "return_attention_scores")
    # Keras has two ways: of its own, where weights are given or dropped out, and the backend's.
    zero = mask is not None and (told or bool(site.get("dropout"))) and b.since(site, 14)
    shapes = {"y": (*parts[0].shape[:2], heads * sizes["value"]),
              "weights": (query.shape[0], heads, query.shape[1], key.shape[1])}  # fmt: skip
    if mask is not None:
        parts.append(mask)
    made, weights = b.add_many("attend", parts, shapes, heads=heads, zero_masked=zero)
    given = site.get("output_shape") or [query.shape[2]]
    if len(given) != 1:
        raise site.refuse("MultiHeadAttention with an output of several axes")
    made = b.add(
        "module", (made,), (*query.shape[:2], given[0]), layer=b.part(site, "attention_output")
    )
    made = masked(made, query.mask)
    given_masks = {v.name for v in (query, value, key) if v.mask is not None}
    if given_masks and b.since(site, 8):
        b.unmasked |= given_masks
    return [made, weights] if told else [made]


def _seen(b: Builder, site: Site, query: Value, value: Value, key: Value) -> Value | None:
    """Return which steps of the value each step of the query sees; None: all of them."""
    mask = None
    rows = [(query.mask, 2), (value.mask, 1), (key.mask if key is not value else None, 1)]
    for given, axis in rows:
        if given is not None:
            if b.version < (2, 10):
                raise site.refuse("MultiHeadAttention of masked values, by a Keras before 2.10")
            mask = _both(b, mask, _across(b, given, axis))
    if _asked(site, "use_causal_mask"):
        mask = _both(b, mask, _causal(b, query, value))
    given = site.kwargs.get("attention_mask")
    if isinstance(given, Value):
        if given.rank != 3:
            raise site.refuse("an attention_mask that is not (batch, steps, steps)")
        if given.dtype != "bool":
            given = b.differing(given, 0)
        mask = _both(b, mask, given)
    return mask


def _causal(b: Builder, query: Value, key: Value) -> Value:
    shape = (1, query.shape[1], key.shape[1])
    return b.add("causal", (query, key), shape, name="mask", dtype="bool")


def _across(b: Builder, value: Value, axis: int) -> Value:
    return b.expand(value, axis, "mask" if value.dtype == "bool" else "")


def _both(b: Builder, first: Value | None, second: Value) -> Value:
    return second if first is None else b.add("logical_and", (first, second), name="mask")


def _asked(site: Site, name: str) -> bool:
    return bool(site.kwargs.get(name))


def _inputs(site: Site) -> tuple[Value, Value, Value]:
    by_name = (site.kwargs.get(name) for name in _NAMES)
    given = (*site.inputs, *(value for value in by_name if isinstance(value, Value)))
    if len(given) not in (2, 3) or any(value.rank != 3 for value in given):
        raise DialectError("takes query, value and key, of three axes each", tensor=site.where)
    masks = [name for name in _NAMES if isinstance(site.kwargs.get(f"{name}_mask"), Value)]
    if masks or site.get("use_gate") or site.get("sliding_window"):
        raise site.refuse("attention with masks by name, with a gate or with a window")
    return given[0], given[1], given[-1]


RULES = {
    "Attention": attention,
    "AdditiveAttention": attention,
    "MultiHeadAttention": multi_head,
}
