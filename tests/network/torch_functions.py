"""What people write in ``forward`` beside calls of layers: each is computed, or refused by name."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tests.networks import fill


class Function(NamedTuple):
    """A forward, the modules and parameters it uses, its inputs' shapes, what it is refused for.

    ``free`` are the axes of which any size is exported; ``whole`` says that inputs are numbers
    below 9.
    """

    forward: object
    parts: dict
    shapes: tuple
    refused: str = ""
    free: tuple = ()
    whole: bool = False


def on_a_view(s, x):
    y = s.fc(x)
    y[:, 0].add_(1.0)
    return y


def under_a_view(s, x):
    y = s.fc(x)
    view = y.view(-1, 2, 4)
    y.mul_(2.0)
    return view


def kernels(s, x):
    """Convolutions by parameters that stand alone, and by what is computed of them."""
    y = F.conv1d(x, s.basis, s.shift, stride=2, padding=1, groups=2)
    z = F.conv1d(x, s.basis - s.basis.mean(2, keepdim=True), dilation=2, groups=2)
    image = F.conv2d(x.unsqueeze(1), s.image, stride=(1, 2), padding=(2, 1))
    return y, z, image, F.conv1d(x[:1], s.basis[:, :1].expand(-1, 4, -1))


def numbers(s, x):
    """Numbers that the program keeps as tensors, and what is filled with them."""
    y, whole = s.fc(x), (x * 5).to(torch.int64)
    y[:, 0] = 1.5
    y[..., 2:4] = -3
    y[x > 0.5] = 0.0
    whole[x[..., 0] < 0] = 4
    whole[..., 1] = 7
    scaled = y * torch.tensor(2.5) + torch.tensor(3)
    return y, whole, scaled, whole * torch.tensor(2), torch.where(y > 0, y, torch.tensor(-1e9))


class Held(NamedTuple):
    """A buffer, which is in a state_dict or not."""

    values: torch.Tensor
    persistent: bool = True


def held():
    torch.manual_seed(1)
    return {
        "fc": nn.Linear(8, 8),
        "table": Held(torch.randn(6, 8), persistent=False),
        "kept": Held(torch.randn(8, dtype=torch.float64)),
        "plain": torch.randn(2, 8),
    }


def constants(s, x):
    """Tensors of many numbers in the code, as attributes, as buffers; looked up, and places."""
    y = s.fc(x) * s.plain[1] + s.table[:, 2:3].narrow(0, -5, 5)
    rows = nn.functional.embedding(torch.tensor([[3, 0, 1, 1, 5]]), s.table)
    return y + rows, x[..., torch.tensor([2, 7, 0])] * torch.tensor([1.5, -2, 4]), s.fc(x) * s.kept


def regions(s, x):
    """Without gradients, or without another precision, in each other and with a value as it is."""
    with torch.no_grad():
        y = s.fc(x)
        with torch.autocast("cpu", enabled=False):
            z = torch.tanh(y[:, : x.shape[1] - 1]) * 2
        same = x
    with torch.inference_mode(False):
        y = y + s.other(same)
    with torch.no_grad():
        y = y * 0.5
    return y, z


def half(s, x):
    with torch.autocast("cpu", torch.bfloat16):
        return s.fc(x)


def other_sizes(s, x, y):
    """Images between whose pixels there are others, or which are seen from further away."""
    larger, line = nn.functional.interpolate, y[:, 0]
    linear = (
        larger(y, size=(7, 3), mode="bilinear"),
        larger(y, scale_factor=2, mode="bilinear"),
        larger(y, size=(4, 9), mode="bilinear", align_corners=True),
        larger(line, scale_factor=3, mode="linear"),
        larger(line, size=4, mode="linear", align_corners=True),
    )
    return s.fc(x), *linear, larger(y, size=(8, 15)), larger(line, scale_factor=2)


def what_numbers_are(s, x):
    """Which are none, or infinite; and functions of angles."""
    y = s.fc(x)
    root, low = y.sqrt(), y.sigmoid() - 0.5
    told = torch.where(root.isnan(), -1.0, root), root.nan_to_num(0.5), (1 / y.relu()).isinf()
    wide = torch.tan(low), torch.sinh(low), torch.cosh(low), torch.asinh(y), torch.erfc(y)
    near = torch.asin(low), torch.acos(low), torch.atanh(low), torch.acosh(y.abs() + 2)
    return *told, root.isfinite(), *wide, *near, torch.exp2(low)


def in_parts(s, x):
    """Steps of a result that is there before them, of several axes, and parts that overlap."""
    y = s.fc(x)
    steps = torch.zeros(x.shape[0], 3, 8)
    for t in range(3):
        steps[:, t] = y[:, t] * (t + 1)
    moved = torch.zeros_like(y)
    moved[:, 1:, :4] = y[:, :-1, :4]
    moved[:, :-1, 4:] = y[:, 1:, 4:]
    moved[:, -1].mul_(2.0)
    moved[1][2:4].sub_(1.0)
    moved[:, 0, 2:3] = y[:, 1, :1]
    whole = torch.ones(x.shape[0], 5, 8, dtype=torch.int64)
    whole[..., 1] = y[..., 0] * 5
    whole[:, 2].zero_()
    alike = y.detach()
    alike[:, :2].fill_(0.3)
    return steps, moved, whole, y, y[:, 1]


def written_often(s, x):
    y = s.fc(x)
    part = y[:, 1:]
    for _ in range(40):
        part = part.mul_(0.9).add_(0.1)
    z = torch.zeros_like(y)
    for t in range(5):
        z[:, t, 2:6] = y[:, t, :4] + z[:, t - 1, 4:]
    return y, z


def in_place_twice(s, x):
    y = s.fc(x)
    part = y[:, :4]
    part.relu_()
    y.mul_(2.0)
    return y[:, 3:].exp(), y.add_(1.0) * y


def in_place_alone(s, x):
    y = s.fc(x)
    z = F.relu(y, inplace=True)
    return y + z.mul_(2.0)


def of_a_part(s, x):
    part = s.fc(x)[:, :4]
    return F.relu_(part) + part


def one_place(s, x, alone):
    """Of all axes, of some of them, of none; with a batch and without."""
    x, alone = s.fc(x), s.fc(alone)
    average, largest = F.adaptive_avg_pool2d, F.adaptive_max_pool2d
    sizes = (1, 1), (1, None), (5, 1)
    pools = [pool(x, size) for pool in (average, largest) for size in sizes]
    windows = average(x, (5, 4)), largest(x, (1, 2)), F.adaptive_avg_pool1d(x[:, 0], 2)
    return (
        *(*pools, *windows, average(x, (5, 8)) * 2, average(alone, 1)),
        F.adaptive_max_pool1d(alone, 1),
    )


def parts_of_free_axes(s, x):
    x = s.fc(x)
    return x[:, :-1], x[:, ::2], x[:-1], x[::2], x[:, 1:] - x[:, :-1], x[:, :2], x[..., :-1]


def whole_and_true(s, x):
    """Reductions and softmax of numbers that are converted first, as ``dtype`` or torch says."""
    x, whole, true = s.fc(x), (x * 5).to(torch.int64), x > 0
    means = whole.mean(1, dtype=torch.float32), true.sum(1), whole.to(torch.int32).sum(1)
    return (*means, true.sum(1, dtype=torch.float32) + x.sum(1), whole.softmax(1, torch.float32))


def zeros_of_a_dtype(s, x):
    tokens = (x > 0).to(torch.int64)
    count, whole = x.shape[0], {"dtype": torch.int64}
    first = torch.cat([tokens, torch.zeros(count, 2, **whole), x.new_zeros((count, 1), **whole)], 1)
    second = torch.zeros_like(tokens, dtype=torch.float32) / 2, torch.zeros_like(x, **whole)
    third = torch.zeros(2, **whole), torch.zeros(2, dtype=torch.bool), torch.zeros(count, **whole)
    return first, *second, *third, s.fc(x)


def bounds(s, x):
    x, inf = s.fc(x), float("inf")
    clamped = x.clamp(0.1, inf), x.clamp(-inf, 0.1), torch.clamp_max(x, 0.2)
    return (*clamped, F.hardtanh(x, -0.1, 1.0, inplace=True))


def sizes_of_free_axes(s, x):
    """Two sizes that are free: heads, positions, masks, and numbers that are sizes."""
    batch, steps, _ = x.shape
    y = s.fc(x)
    heads = y.view(batch, steps, 2, 4).transpose(1, 2)
    seen = torch.full((steps, steps), 2.0) * torch.arange(1, 2 * steps, 2) > steps
    rows = torch.ones(batch * 2, steps), torch.full_like(y, 0.3) + y[:, :1].expand_as(y)
    joined = F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
    cut = y[:, steps - 1], y[:, : batch - 1], y[:, 1 : steps - 1]
    return (joined, y.reshape(steps * batch, 8), seen, *rows, *cut, y.mean() + y[:1] / steps,
            y[0].expand(3, steps, 8), y[:, :1].repeat(1, steps + batch, 1))  # fmt: skip


def masks_of_attention(s, x):
    """Masks that say what is seen, or are added; some steps see nothing."""
    attend, y = F.scaled_dot_product_attention, s.fc(x)
    seen = y @ x.mT > 1
    added = torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, -torch.inf)
    heads = y.unflatten(2, (2, 4)).transpose(1, 2)
    own = (y @ x.mT).masked_fill(~seen, -torch.inf).softmax(-1)
    return (
        own.masked_fill(~seen, 0.0),
        attend(y, x, x, attn_mask=seen),
        attend(y, x[:, :4], x[:, :4], attn_mask=added[..., :4] + 0.2, scale=0.3),
        attend(heads, heads, heads, is_causal=True),
        attend(heads, heads, heads, attn_mask=seen.unsqueeze(1)),
        attend(y, x, x, attn_mask=torch.zeros_like(y @ x.mT).masked_fill(~seen, -3e38)),
        attend(y, x, x, scale=0.0),
    )


def changed_zeros(s, x):
    h = torch.zeros(x.shape[0], 5)
    h[:, :2].add_(1.0)
    return s.cell(x, h)


def rms():
    return linear() | {"rms": nn.RMSNorm(8, eps=0.1)}


def chosen():
    return linear() | {"columns": nn.Buffer(torch.tensor([6, 0, -2]))}


def places(s, x):
    """The first of those that are equal."""
    y, whole = s.fc(x).relu(), (x * 2).to(torch.int64)
    return (*y.max(1), *whole.min(-1, keepdim=True), y.argmax(1), whole.argmin(1), y.topk(3)[0])


def by_places(s, x):
    y, last = s.fc(x), x[..., 0].argmax(1)
    rows = torch.arange(x.shape[0])
    parts = y[rows, last], y[rows, last - 2], y.repeat(1, 1, 3)[:, :, s.columns], y[:, last]
    far = y.gather(1, last.view(-1, 1, 1).expand(-1, 1, 8)), y.gather(2, (x > 0).long())
    said = torch.where(y > 0, 2, y), torch.where(y > 0, y, -0.5), torch.where(y > x, 1, -1)
    return (*parts, *far, *said, F.one_hot(last, 9), (x > 0).cumsum(1), y.cumsum(1))


def statistics(s, x):
    y = s.fc(x)
    parts = y.var(1), y.std((1, 2), correction=0), F.normalize(y, dim=1), y.norm(p=1, dim=-1)
    large = torch.logsumexp((y * 30).masked_fill(y > 1, -torch.inf), 1), y.prod(1, keepdim=True)
    near = F.cosine_similarity(y, x[:, :1], dim=-1), F.pairwise_distance(y, x)
    norms = F.layer_norm(y, (8,), eps=0.1), F.rms_norm(y, (8,)), F.instance_norm(y), s.rms(y)
    truths = (y > 0).any(1), (y > 0).all(-1, keepdim=True)
    return *parts, *large, *near, *norms, *truths


def edges(s, x):
    y, modes = s.fc(x), ("reflect", "replicate", "circular")
    moved = (
        y.roll((1, -9), (1, 2)),
        y.flip(1, 2),
        y.diff(dim=1),
        (y > 0).diff(),
        y.repeat_interleave(2, 1),
    )
    return *(F.pad(y, (2, 1), mode=mode) for mode in modes), *moved, y.movedim(1, -1)


def products(s, x):
    y, whole = s.fc(x), (x * 5).to(torch.int64)
    sums = [torch.einsum(f"bti,{one}", y, x) for one in ("bsi->bts", "bsj->bijts", "bti->it")]
    sums += [torch.einsum(f"bti,{one}", y, x) for one in ("bti->b", "bti->i", "bsi->b")]
    sums.append(torch.einsum("bti,bti->", y, x) * 0.1)
    sums.append(torch.einsum("bti,ij,bti->btij", y, s.fc(x[0]).T @ x[0], x))
    sums.append(torch.einsum("btn,bsn,bti,bsj->bij", y, x, x, y))
    parts = torch.baddbmm(y @ y.mT, y, x.mT, alpha=0.3), torch.lerp(x, y, y.sigmoid())
    logic = (x > 0) | (y > 0) ^ (x < y), ~(whole | 4), whole // 3, whole % 3, x.bool()
    return *sums, torch.einsum("bti->ib", y), *parts, *logic


def states_of_tokens(s, tokens):
    h = torch.zeros(tokens.shape[0], 5), torch.zeros(tokens.shape[0], 5)
    return s.cell(s.words(tokens)[:, 0], h)


def linear():
    return {"fc": nn.Linear(8, 8)}


def two():
    return {"fc": nn.Linear(8, 8), "other": nn.Linear(8, 8)}


def norm(**options):
    return {"norm": nn.LayerNorm(8, **options)}


def conv():
    return {"conv": nn.Conv1d(4, 6, 3)}


X, STEPS, WIDE = ((3, 8),), ((3, 5, 8),), ((3, 4, 9),)
OTHERS = "takes other parameters than all of one layer's"
IN_PLACE = "changes numbers that another value looks at"
FUNCTIONS = {
    "in place on a view": Function(on_a_view, linear, STEPS),
    "in parts": Function(in_parts, linear, STEPS, free=(0,)),
    "in place twice": Function(in_place_twice, linear, X, free=(0,)),
    "written again and again": Function(written_often, linear, STEPS, free=(0,)),
    "under a part": Function(
        lambda s, x: (y := s.fc(x), z := y[:, 1:], y.neg_(), z)[3], linear, X, f"neg_ {IN_PLACE}"
    ),
    "part of a free axis": Function(
        lambda s, x: (y := s.fc(x), y[:-1].neg_(), y)[2], linear, X, f"neg_ {IN_PLACE}", free=(0,)
    ),
    "in place under a view": Function(under_a_view, linear, X, f"mul_ {IN_PLACE}"),
    "in place alone": Function(in_place_alone, linear, X),
    "in place of a part": Function(of_a_part, linear, X),
    "softplus": Function(lambda s, x: F.softplus(s.fc(x), 2, 0.5), linear, X),
    "places": Function(places, linear, STEPS, free=(0, 1)),
    "by places": Function(by_places, chosen, STEPS, free=(0, 1)),
    "statistics": Function(statistics, rms, STEPS, free=(0, 1)),
    "edges": Function(edges, linear, STEPS, free=(0, 1)),
    "products": Function(products, linear, STEPS, free=(0, 1)),
    "places of the largest": Function(
        lambda s, x: s.fc(x).topk(2)[1], linear, X, "beside an operator's first"
    ),
    "decimals": Function(lambda s, x: s.fc(x).round(decimals=1), linear, X, "argument decimals"),
    "a mask as an index": Function(
        lambda s, x: s.fc(x)[x[:, 0] > 0], linear, X, "how many it takes is not known"
    ),
    "a diagonal": Function(
        lambda s, x: torch.einsum("bii->bi", s.fc(x)), linear, ((2, 8, 8),), "each letter once"
    ),
    "rsub": Function(lambda s, x: torch.rsub(s.fc(x), 1, alpha=2), linear, X),
    "bytes": Function(lambda s, x: s.fc(x).view(torch.int32), linear, X, "as another dtype"),
    "dropout": Function(lambda s, x: F.dropout(s.fc(x), 0.4), linear, X, "after eval()"),
    "attention's dropout": Function(
        lambda s, x: F.scaled_dot_product_attention(s.fc(x), x, x, dropout_p=0.4),
        linear, STEPS, "dropout_p",
    ),
    "alpha": Function(
        lambda s, x: torch.add(torch.sub(x, 2, alpha=3), s.fc(x), alpha=0.5), linear, X
    ),
    "weight alone": Function(lambda s, x: F.linear(s.fc(x), s.fc.weight), linear, X),
    "transposed weights": Function(
        lambda s, x: s.fc(x @ s.other.weight.T) @ s.other.weight.mT + s.other.bias, two, X
    ),
    "another's bias": Function(
        lambda s, x: s.other(F.linear(x, s.fc.weight, s.other.bias)) + s.fc.bias, two, X
    ),
    "a table as a matrix": Function(
        lambda s, x: F.linear(s.words((x > 0).to(torch.int64)), s.words.weight),
        lambda: {"words": nn.Embedding(5, 8)}, X,
    ),
    "axes of a norm": Function(
        lambda s, x: (s.norm(x), s.norm(x * 2)),
        lambda: {"norm": nn.LayerNorm((5, 8))}, ((2, 3, 5, 8),), free=(0,),
    ),
    "all axes of a norm": Function(
        lambda s, x: s.norm(x), lambda: {"norm": nn.LayerNorm((5, 8))}, ((5, 8),)
    ),
    "another eps": Function(
        lambda s, x: F.layer_norm(s.norm(x), (8,), s.norm.weight, s.norm.bias, 0.5),
        norm, X, "called twice with different settings",
    ),
    "eps of a function": Function(
        lambda s, x: F.layer_norm(x, (8,), s.norm.weight, s.norm.bias, 0.5), norm, X
    ),
    "scale for shift": Function(
        lambda s, x: F.layer_norm(x, (8,), s.norm.bias, s.norm.weight), norm, X, OTHERS
    ),
    "no shift": Function(lambda s, x: F.layer_norm(x, (8,), s.norm.weight), norm, X, OTHERS),
    "no affine": Function(
        lambda s, x: s.norm(x) * s.scale,
        lambda: norm(elementwise_affine=False) | {"scale": nn.Parameter(torch.zeros(8))},
        X,
    ),
    "statistics alone": Function(
        lambda s, x: s.norm(x), lambda: {"norm": nn.BatchNorm1d(8, affine=False)}, X
    ),
    "kernel of a function": Function(
        lambda s, x: F.conv1d(x, s.conv.weight, s.conv.bias, stride=2), conv, WIDE
    ),
    "kernels of no layer": Function(
        kernels, lambda: {
            "basis": nn.Parameter(torch.zeros(6, 2, 3)), "shift": nn.Parameter(torch.zeros(6)),
            "image": nn.Parameter(torch.zeros(2, 1, 3, 2)),
        },
        ((2, 4, 9),), free=(0,),
    ),
    "a kernel by words": Function(
        lambda s, x: F.conv1d(x, s.basis, padding="same"),
        lambda: {"basis": nn.Parameter(torch.zeros(6, 4, 3))}, WIDE, "padding that is no",
    ),
    "kernel alone": Function(lambda s, x: F.conv1d(x, s.conv.weight), conv, WIDE, OTHERS),
    "attention": Function(
        lambda s, x: s.attend(x, x, x)[0], lambda: {"attend": nn.MultiheadAttention(8, 2)}, STEPS,
    ),
    "greatest of two": Function(lambda s, x: torch.max(s.fc(x), x), linear, X),
    "glu": Function(lambda s, x: F.glu(s.fc(x)), linear, X),
    "power of a number": Function(lambda s, x: 2 ** s.fc(x), linear, X),
    "power of a tensor": Function(lambda s, x: s.fc(x).exp() ** x, linear, X),
    "masks of attention": Function(masks_of_attention, linear, STEPS),
    "bits": Function(
        lambda s, x: s.fc(x) * (x.to(torch.int64) & 3), linear, X
    ),
    "bits of two": Function(
        lambda s, x: s.fc(x) * (x.to(torch.int64) | (x * 9).to(torch.int64)), linear, X,
    ),
    "both": Function(lambda s, x: s.fc(x) * ((x > 0) & (x < 1)), linear, X),
    "sum of bools": Function(
        lambda s, x: s.fc(x) * ((x > 0) + (x > 1)), linear, X, "two bools, which are no numbers"
    ),
    "convolution without batch": Function(
        lambda s, x: s.conv(x), conv, ((4, 9),), "conv1d with an input without batch"
    ),
    "pool without batch": Function(
        lambda s, x: F.max_pool1d(s.fc(x), 2), linear, X, "max_pool1d with an input without batch"
    ),
    "pools to one place": Function(one_place, linear, ((2, 3, 5, 8), (3, 5, 8))),
    "pool to places": Function(
        lambda s, x: F.adaptive_avg_pool1d(s.fc(x), 3), linear, STEPS, "no multiple of the output"
    ),
    "vectors of several lengths": Function(
        lambda s, x: F.cosine_similarity(s.fc(x), x[:, :1], dim=-1), linear, X, "several lengths"
    ),
    "threshold of whole numbers": Function(
        lambda s, x: F.threshold((s.fc(x) * 9).long(), -1, 5), linear, X, "whole numbers"
    ),
    "place of a pool": Function(
        lambda s, x: F.adaptive_max_pool1d(s.fc(x), 1, return_indices=True)[1],
        linear, STEPS, "places of a maximum",
    ),
    "sizes of free axes": Function(sizes_of_free_axes, linear, STEPS, free=(0, 1)),
    "zeros that changed": Function(
        changed_zeros, lambda: {"cell": nn.GRUCell(8, 5)}, X
    ),
    "parts of free axes": Function(parts_of_free_axes, linear, STEPS, free=(0, 1)),
    "whole and true": Function(whole_and_true, linear, X, free=(0,)),
    "zeros of a dtype": Function(zeros_of_a_dtype, linear, X, free=(0,)),
    "bounds": Function(bounds, linear, X),
    "states of tokens": Function(
        states_of_tokens,
        lambda: {"words": nn.Embedding(9, 8), "cell": nn.LSTMCell(8, 5)}, X, free=(0,),
        whole=True,
    ),
    "no bound": Function(
        lambda s, x: s.fc(x).clamp(float("inf")), linear, X, "min that is no number"
    ),
    "double": Function(
        lambda s, x: s.fc(x).sum(1, dtype=torch.float64), linear, X, "a conversion to float64"
    ),
    "nothing": Function(lambda s, x: (None, s.fc(x), None), linear, X, free=(0,)),
    "a number beside": Function(lambda s, x: (s.fc(x), 3), linear, X, "are not tensors alone"),
    "regions": Function(regions, two, STEPS, free=(0, 1)),
    "autocast": Function(half, linear, X, "higher_order.wrap_with_autocast cannot be written"),
    "counts": Function(
        lambda s, x: (s.plain[1].add_(1), s.fc(x) * s.plain[0])[1], held, STEPS,
        "plain: add_ changes a buffer",
    ),
    "constants of one number": Function(numbers, linear, STEPS, free=(0, 1)),
    "a mask of values": Function(
        lambda s, x: (y := s.fc(x), y.index_put_((x[:, 0] > 0,), y[:1]))[1], linear, X,
        "anything but one mask and one number",
    ),
    "infinite constant": Function(
        lambda s, x: torch.softmax(torch.where(x > 0, s.fc(x), torch.tensor(-torch.inf)), -1),
        linear, X, free=(0,),
    ),
    "constants": Function(constants, held, STEPS, free=(0,)),
    "bools that are filled": Function(
        lambda s, x: (s.fc(x), (x > 0).fill_(0.4), (x > 0).fill_(0)), linear, X, free=(0,)
    ),
    "other sizes": Function(other_sizes, linear, ((3, 8), (2, 3, 4, 5)), free=(0,)),
    "a scale that no size is": Function(
        lambda s, x, y: (s.fc(x), nn.functional.interpolate(y, scale_factor=1.5, mode="bilinear")),
        linear, ((3, 8), (2, 3, 4, 5)), "not what a scale makes",
    ),
    "what numbers are": Function(what_numbers_are, linear, X, free=(0,)),
    "a mask of which a row lets nothing through": Function(
        lambda s, x: torch.softmax(s.fc(x) + s.mask, -1)[:, 1:],
        lambda: {"fc": nn.Linear(8, 8), "mask": (torch.arange(40.0).view(5, 8) // 9).log()}, STEPS,
    ),
}  # fmt: skip


class Model(nn.Module):
    def __init__(self, forward, parts):
        super().__init__()
        self._forward = forward
        for name, part in parts.items():
            if isinstance(part, Held):
                self.register_buffer(name, part.values, part.persistent)
            else:
                setattr(self, name, part)

    def forward(self, *given):
        return self._forward(self, *given)


def _inputs(function, more):
    """Return random inputs, by so much longer along free axes."""
    sizes = [[n + more * (i in function.free) for i, n in enumerate(s)] for s in function.shapes]
    if function.whole:
        return tuple(torch.randint(0, 9, size) for size in sizes)
    return tuple(map(torch.randn, sizes))


def exported(name, path):
    """Save a function as torch.export does.

    Returns:
        the model, inputs of two sizes where a size is free, and what the function is refused for.
    """
    torch.manual_seed(0)
    function = FUNCTIONS[name]
    model = fill(Model(function.forward, function.parts()))
    inputs, longer = (_inputs(function, more) for more in (0, 2))
    free = dict.fromkeys(function.free, torch.export.Dim.AUTO)
    program = torch.export.export(model, inputs, dynamic_shapes=((free,) * len(inputs),))
    torch.export.save(program, path)
    return model, (inputs, longer), function.refused
