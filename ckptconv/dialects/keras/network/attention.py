"""Attention and MultiHeadAttention, without masks."""

from __future__ import annotations

from ckptconv.dialects.keras.network.builder import Builder, Site
from ckptconv.dialects.keras.network.structure import moved
from ckptconv.errors import DialectError
from ckptconv.graph.network import Value

_ASKED = ("attention_mask", "use_causal_mask", "return_attention_scores")


def attention(b: Builder, site: Site) -> list[Value]:
    query, value, key = _inputs(site, site.inputs)
    if site.get("use_scale") or site.get("score_mode", default="dot") != "dot":
        raise site.refuse("Attention with a scale, or with another score than the product")
    pairs = (*query.shape[:2], key.shape[1])
    scores = b.add("matmul", (query, moved(b, key, (0, 2, 1))), pairs)
    weights = b.add("softmax", (scores,), axis=-1)
    return [b.add("matmul", (weights, value), (*query.shape[:2], value.shape[2]))]


def multi_head(b: Builder, site: Site) -> list[Value]:
    by_name = [site.kwargs.get(name) for name in ("query", "value", "key")]
    given = [*site.inputs, *(v for v in by_name if isinstance(v, Value))]
    query, value, key = _inputs(site, tuple(given))
    if site.get("attention_axes") not in (None, [1]) or site.get("use_gate"):
        raise site.refuse("MultiHeadAttention over other axes than time, or with a gate")
    shapes = {site.layer.name: query.shape, "scores": (*query.shape[:2], key.shape[1])}
    return b.add_many("attention", (query, key, value), shapes, layer=b.path(site))[:1]


def _inputs(site: Site, given: tuple[Value, ...]) -> tuple[Value, Value, Value]:
    if len(given) not in (2, 3) or any(value.rank != 3 for value in given):
        raise DialectError("takes query, value and key, of three axes each", tensor=site.where)
    if any(value.mask is not None for value in given):
        raise site.refuse("attention to masked values")
    if asked := [name for name in _ASKED if site.kwargs.get(name)]:
        raise site.refuse(f"attention with {', '.join(asked)}")
    return given[0], given[1], given[-1]


RULES = {"Attention": attention, "MultiHeadAttention": multi_head}
