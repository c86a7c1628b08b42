"""What a step of a random torch.export program may be."""

# ruff: noqa: ARG005 (functions of one signature)
from __future__ import annotations

from functools import lru_cache
from typing import Any


def _state(x: Any, s: Any) -> Any:
    """Zeros, which may change before they are used."""
    import torch

    h = torch.zeros(x.shape[0], 6)
    if s.flag:
        (h[:, :3] if s.whole else h).add_(s.number)
    return h, torch.ones(x.shape[0], 6)


def _whole(x: Any) -> Any:
    import torch

    return (x * 5).to(torch.int64)


def _put(x: Any, y: Any, s: Any) -> Any:
    """Write into parts of a new value, as decoders keep what each step gives."""
    made = x.new_zeros(x.shape) if s.flag else x.clone()
    for t in range(2):
        made[:, t, 1:] = y[:, t - 1, : y.shape[2] - 1] * s.number
    made[..., s.whole].mul_(2.0)
    return made


def _set(x: Any, s: Any) -> Any:
    """Write a number, which the program keeps as a constant, over a part."""
    made = x.clone()
    made[:, s.whole] = s.number
    if s.flag:
        made[..., 1:3] = s.whole
    made[made > 1] = s.number
    return made


def _never(m: Any, x: Any, s: Any) -> Any:
    """Weights of which some rows, and some places of others, are of no score."""
    import torch

    out = (x > s.number) | (x[..., :1] > 0)
    scores = x + (~out).float().log() if s.flag else torch.where(out, m.never, x)
    return scores.softmax(s.whole).masked_fill(out, 0.0)


_EQUATIONS = ("bti,bsi->bts", "bti,bsj->btjs", "bti,bti->bi", "bti,bsi->ts", "bti,sbi->sbt")
_OF_MORE = ("bti,bti->b", "bti,bti,bti->bti", "bti,bsi,bsj->btj", "bti,bti->")


@lru_cache
def functions() -> dict[str, Any]:
    """Return name → function of (model, x, y, step)."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    return {
        "layer": lambda m, x, y, s: m.first(x),
        "other": lambda m, x, y, s: m.second(x),
        "norm": lambda m, x, y, s: m.norm(x),
        "batch_norm": lambda m, x, y, s: m.batch(x),
        "linear": lambda m, x, y, s: F.linear(x, m.first.weight, m.first.bias if s.flag else None),
        "mixed": lambda m, x, y, s: F.linear(x, m.first.weight, (m.first, m.second)[s.flag].bias),
        "layer_norm": lambda m, x, y, s: F.layer_norm(
            x, (6,), m.norm.weight, m.norm.bias if s.flag else None, abs(s.number) * 1e-2
        ),
        "bare": lambda m, x, y, s: x * m.scale,
        "relu": lambda m, x, y, s: F.relu(x, inplace=s.flag),
        "add": lambda m, x, y, s: torch.add(x, y, alpha=s.number if s.flag else 1),
        "sub": lambda m, x, y, s: torch.sub(x, s.number if s.flag else y),
        "rsub": lambda m, x, y, s: torch.rsub(x, s.number, alpha=2 if s.flag else 1),
        "mul": lambda m, x, y, s: x.mul_(s.number) if s.flag else x * y,
        "add_": lambda m, x, y, s: x.add_(s.number),
        "max": lambda m, x, y, s: torch.max(x, y) if s.flag else x.max(-1, keepdim=True)[0],
        "where": lambda m, x, y, s: torch.where(x > s.number, x, y),
        "masked": lambda m, x, y, s: x.masked_fill_(x > 0, s.number) if s.flag else x,
        "both": lambda m, x, y, s: x * ((x > 0) & (y < 1)),
        "bits": lambda m, x, y, s: x * (x.to(torch.int64) & (3 if s.flag else y.to(torch.int64))),
        "clamp": lambda m, x, y, s: x.clamp(-abs(s.number), abs(s.number)),
        "hardtanh": lambda m, x, y, s: F.hardtanh(x, -1.0, abs(s.number), inplace=s.flag),
        "softplus": lambda m, x, y, s: F.softplus(x, 1, 20 if s.flag else abs(s.number)),
        "elu": lambda m, x, y, s: F.elu(x, abs(s.number), inplace=s.flag),
        "leaky_relu": lambda m, x, y, s: F.leaky_relu(x, abs(s.number), inplace=s.flag),
        "gelu": lambda m, x, y, s: F.gelu(x, approximate="tanh" if s.flag else "none"),
        "softmax": lambda m, x, y, s: torch.softmax(x, s.whole),
        "unseen": lambda m, x, y, s: (
            x.masked_fill(x > s.number, -torch.inf).softmax(s.whole).masked_fill(x > s.number, 0.0)
        ),
        "never": lambda m, x, y, s: _never(m, x, s),
        "dropout": lambda m, x, y, s: F.dropout(x, 0.5, training=False, inplace=s.flag),
        "mean": lambda m, x, y, s: x.mean(s.whole, keepdim=s.flag),
        "sum": lambda m, x, y, s: x.sum(-1, keepdim=True) + y,
        "select": lambda m, x, y, s: x[:, s.whole],
        "slice": lambda m, x, y, s: x[..., 1:] if s.flag else x[:, :2],
        "end": lambda m, x, y, s: x[: s.whole or None] if s.flag else x[:, : s.whole or None],
        "step": lambda m, x, y, s: x[..., ::2] if s.flag else x[:, :: 1 + abs(s.whole)],
        "whole": lambda m, x, y, s: (x * 5).to(torch.int64 if s.flag else torch.int32),
        "true": lambda m, x, y, s: x > s.number,
        "total": lambda m, x, y, s: x.sum(s.whole, dtype=torch.float32 if s.flag else None),
        "average": lambda m, x, y, s: x.mean(s.whole, dtype=torch.float32),
        "zeros": lambda m, x, y, s: torch.cat([x, x.new_zeros(len(y), *x.shape[1:])], -1),
        "alike": lambda m, x, y, s: torch.zeros_like(x, dtype=y.dtype) + (y if s.flag else 1),
        "cell": lambda m, x, y, s: m.cell(x[:, 0])[s.flag],
        "view": lambda m, x, y, s: x.view(x.shape[0], -1, 2),
        "transpose": lambda m, x, y, s: x.transpose(1, -1),
        "unsqueeze": lambda m, x, y, s: x.unsqueeze(abs(s.whole)),
        "flatten": lambda m, x, y, s: x.flatten(1),
        "chunk": lambda m, x, y, s: x.chunk(2, -1)[s.flag],
        "cat": lambda m, x, y, s: torch.cat([x, y], -1),
        "stack": lambda m, x, y, s: torch.stack([x, y], 1),
        "expand": lambda m, x, y, s: x.unsqueeze(1).expand(-1, 2, *x.shape[1:]),
        "flip": lambda m, x, y, s: x.flip(-1),
        "pad": lambda m, x, y, s: F.pad(x, (1, s.whole), value=s.number),
        "pow": lambda m, x, y, s: x**2 if s.flag else 2 ** x.clamp(-9, 9),  # no integer overflows
        "glu": lambda m, x, y, s: F.glu(x),
        "attend": lambda m, x, y, s: F.scaled_dot_product_attention(x, y, y, is_causal=s.flag),
        "seen": lambda m, x, y, s: F.scaled_dot_product_attention(
            x, y, y, attn_mask=x @ y.mT > s.number, is_causal=s.flag
        ),
        "scaled": lambda m, x, y, s: torch.add(x, y if s.flag else s.whole, alpha=s.number),
        "lstm": lambda m, x, y, s: m.recurrent(x)[0] if s.flag else m.recurrent(x)[1][0][-1],
        "heads": lambda m, x, y, s: x.view(x.shape[0], x.shape[1], 2, 3).transpose(1, 2),
        "merge": lambda m, x, y, s: x.reshape(x.shape[0] * x.shape[1], -1),
        "turned": lambda m, x, y, s: x.reshape(x.shape[1], x.shape[0], *x.shape[2:]),
        "ones": lambda m, x, y, s: x * torch.full(x.shape[:2], s.number).unsqueeze(-1),
        "ones_like": lambda m, x, y, s: torch.full_like(x, s.number) + torch.ones_like(y),
        "places": lambda m, x, y, s: x + torch.arange(s.whole, s.whole + x.shape[1])[:, None],
        "order": lambda m, x, y, s: torch.arange(0, 2 * y.shape[1], 1 + abs(s.whole)) * s.number,
        "until": lambda m, x, y, s: (x[:, : y.shape[0]], x[: y.shape[1] - 1])[s.flag],
        "at": lambda m, x, y, s: x[:, y.shape[1] - 1],
        "size": lambda m, x, y, s: x / y.shape[1] if s.flag else x * y.shape[0],
        "as": lambda m, x, y, s: x[:, :1].expand_as(y) if s.flag else x[0].expand(y.shape),
        "times": lambda m, x, y, s: x.repeat(1, y.shape[0], 1) if s.flag else y.repeat(2, 1, 1),
        "whole_sum": lambda m, x, y, s: y * (x.mean() if s.flag else x.sum()),
        "state": lambda m, x, y, s: m.cell(x[:, 0], _state(x, s))[0],
        "or": lambda m, x, y, s: x * ((x > s.number) | (y < 0) ^ (x < y)),
        "bits_or": lambda m, x, y, s: _whole(x) | (3 if s.flag else _whole(y)) ^ 5,
        "inverse": lambda m, x, y, s: x * ~_whole(y) if s.flag else x * ~(y > 0),
        "logical": lambda m, x, y, s: torch.logical_xor(x, y > 0) | torch.logical_or(x, y),
        "floors": lambda m, x, y, s: _whole(x) // (s.whole or 3) + _whole(y) % (s.whole or 2),
        "floored": lambda m, x, y, s: torch.div(x, s.number, rounding_mode="floor") % 0.7,
        "whole_order": lambda m, x, y, s: (_whole(x) > 1) & (_whole(x) <= _whole(y)),
        "argmax": lambda m, x, y, s: x.relu().argmax(s.whole, keepdim=s.flag),
        "argmin": lambda m, x, y, s: torch.relu(x).argmin(-1) if s.flag else _whole(x).argmin(1),
        "max_place": lambda m, x, y, s: x.max(s.whole, keepdim=s.flag)[1] + x.min(-1)[1].sum(),
        "min": lambda m, x, y, s: x.min(s.whole, keepdim=s.flag)[0] if s.flag else torch.min(x, y),
        "any": lambda m, x, y, s: (x > s.number).any(s.whole) if s.flag else x.bool().all(-1),
        "var": lambda m, x, y, s: x.var(s.whole, correction=int(s.flag), keepdim=True),
        "std": lambda m, x, y, s: x.std((1, -1)) if s.flag else x.std(-1, keepdim=True),
        "length": lambda m, x, y, s: x.norm(p=1 if s.flag else 2, dim=s.whole, keepdim=True),
        "unit": lambda m, x, y, s: F.normalize(x, dim=s.whole),
        "similar": lambda m, x, y, s: F.cosine_similarity(x, y[:, :1] if s.flag else y, dim=-1),
        "logsumexp": lambda m, x, y, s: torch.logsumexp(x * 90, s.whole, keepdim=s.flag),
        "prod": lambda m, x, y, s: x.prod(s.whole, keepdim=s.flag),
        "topk": lambda m, x, y, s: x.topk(2, s.whole)[0],
        "cumsum": lambda m, x, y, s: (x > 0 if s.flag else x).cumsum(s.whole),
        "gather": lambda m, x, y, s: x.gather(s.whole, y.argmax(s.whole, keepdim=True)),
        "take": lambda m, x, y, s: x[:, y[..., 0].argmax(-1)] if s.flag else x[y.argmin(-1)],
        "pairs": lambda m, x, y, s: x[torch.arange(x.shape[0]), y[..., 0].argmax(-1) - 1],
        "one_hot": lambda m, x, y, s: F.one_hot(x.argmax(-1), 6).float() + s.number,
        "where_number": lambda m, x, y, s: torch.where(x > 0, *((x, s.number)[:: 1 - 2 * s.flag])),
        "where_numbers": lambda m, x, y, s: torch.where(x > y, s.whole if s.flag else s.number, 2),
        "edges": lambda m, x, y, s: F.pad(x, (1, 2), mode="reflect" if s.flag else "circular"),
        "continued": lambda m, x, y, s: F.pad(x, (abs(s.whole), 1), mode="replicate"),
        "roll": lambda m, x, y, s: x.roll((s.whole, 7), (1, -1)) if s.flag else x.roll(9, s.whole),
        "flips": lambda m, x, y, s: x.flip(1, -1),
        "moved": lambda m, x, y, s: x.movedim(1, -1) if s.flag else x.swapaxes(0, s.whole),
        "diff": lambda m, x, y, s: x.diff(dim=s.whole),
        "repeated": lambda m, x, y, s: x.repeat_interleave(2, s.whole),
        "triangle": lambda m, x, y, s: (x @ y.mT).triu(s.whole) + (x @ y.mT > 0).tril(s.whole),
        "lerp": lambda m, x, y, s: torch.lerp(x, y, s.number if s.flag else y.sigmoid()),
        "addcmul": lambda m, x, y, s: torch.addcmul(x, y, y, value=s.number),
        "baddbmm": lambda m, x, y, s: torch.baddbmm(x, x @ y.mT, y, beta=s.number, alpha=0.5),
        "soft": lambda m, x, y, s: F.softplus(x, abs(s.number), 1.5 if s.flag else 20),
        "roots": lambda m, x, y, s: torch.log1p(x.abs()) + torch.erf(x) + torch.expm1(-x.abs()),
        "steps": lambda m, x, y, s: x.floor() + (x * 2).round() + x.sign() * x.ceil() + x.trunc(),
        "inplace": lambda m, x, y, s: x.sigmoid_() if s.flag else x.clamp_(min=0).sub_(s.number),
        "put": lambda m, x, y, s: (x[:, s.whole] if s.flag else x[:, 1:3]).copy_(
            y[:, s.whole] if s.flag else y[:, :1]
        ),
        "put_part": lambda m, x, y, s: _put(x, y, s),
        "fill": lambda m, x, y, s: x[..., 1:].fill_(s.number) if s.flag else x[:, :2].zero_(),
        "constant": lambda m, x, y, s: x * torch.tensor(s.number if s.flag else s.whole),
        "set": lambda m, x, y, s: _set(x, s),
        "bare_norm": lambda m, x, y, s: (F.rms_norm if s.flag else F.layer_norm)(x, x.shape[-1:]),
        "instance": lambda m, x, y, s: F.instance_norm(x, eps=0.1),
        "einsum": lambda m, x, y, s: torch.einsum(_EQUATIONS[s.whole], x, y),
        "einsum_more": lambda m, x, y, s: torch.einsum(
            _OF_MORE[s.whole % 4], *(x, y, y)[: 2 + _OF_MORE[s.whole % 4].count(",") // 2]
        ),
        "einsum_one": lambda m, x, y, s: torch.einsum("bti->ib" if s.flag else "abc->cab", x),
    }
