"""Functions for generated MindSpore modules."""

import mindspore as ms
from mindspore import ops


def hard_sigmoid(x):
    """Keras's before version 3: of slope 0.2."""
    return ops.clamp(0.2 * x + 0.5, 0.0, 1.0)


def softmax(x):
    """Over the last axis."""
    return ops.softmax(x, axis=-1)


def log_softmax(x):
    """Over the last axis."""
    return ops.log_softmax(x, axis=-1)


def leaky_relu(x):
    """Keras's activation of that name, of slope 0.2."""
    return ops.leaky_relu(x, 0.2)


def masked_mean(x, mask, keepdim=False):
    """The mean over time of the steps that the mask has."""
    mask = mask.expand_dims(2)
    total = ops.sum(ops.where(mask, x, ops.zeros_like(x)), 1, keepdim=keepdim)
    return total / ops.sum(mask.astype(x.dtype), 1, keepdim=keepdim)


def causal(query, key):
    """Which steps of key each step of query sees: those up to itself."""
    rows = ops.arange(query.shape[-2]).reshape(1, -1, 1)
    return rows >= ops.arange(key.shape[-2])


def attend(query, key, value, mask=None, heads=1, zero_masked=False):
    """Attention of heads that stand side by side: what it gives, and the weights.

    Where mask (batch, steps of query, steps of key) is False, a step is not seen;
    who sees none sees all alike, or nothing with zero_masked.
    """
    batch, steps, size = query.shape[0], query.shape[1], query.shape[2] // heads
    query = query.reshape(batch, steps, heads, size).swapaxes(1, 2)
    key = key.reshape(batch, key.shape[1], heads, size).swapaxes(1, 2)
    size = value.shape[2] // heads
    value = value.reshape(batch, value.shape[1], heads, size).swapaxes(1, 2)
    scores = ops.matmul(query, key.swapaxes(2, 3)) / query.shape[3] ** 0.5
    if mask is not None:
        scores = ops.where(mask.expand_dims(1), scores, -1e30)
    weights = ops.softmax(scores, axis=3)
    if zero_masked:
        weights = ops.where(mask.expand_dims(1), weights, 0.0)
    y = ops.matmul(weights, value).swapaxes(1, 2)
    return y.reshape(batch, steps, heads * size), weights


def scaled_dot_product_attention(query, key, value):
    """Attention over the last axis but one."""
    scores = ops.matmul(query, key.swapaxes(-2, -1)) / query.shape[-1] ** 0.5
    return ops.matmul(ops.softmax(scores, axis=-1), value)


def unit(x, axis):
    """x, of length one along an axis."""
    return x * ops.rsqrt(ops.maximum(ops.sum(x * x, axis, keepdim=True), 1e-24))


def hard_sigmoid_6(x):
    """Keras 3's: of slope 1/6."""
    return ops.clamp(x / 6 + 0.5, 0.0, 1.0)


def softplus(x):
    """log(1 + exp(x)), exactly for large x too."""
    return ops.maximum(x, ops.zeros_like(x)) + ops.log1p(ops.exp(-ops.abs(x)))


def log_sigmoid(x):
    """log(1 / (1 + exp(-x))), finite for large -x too, as ops.logsigmoid is not."""
    return -softplus(-x)


def mish(x):
    """x · tanh(log(1 + exp(x))), for large x too, where ops.mish is not a number."""
    e = ops.exp(ops.minimum(x, 20 * ops.ones_like(x)))
    return x * (e * (e + 2) / (e * (e + 2) + 2))


def tanh_shrink(x):
    """x - tanh(x)."""
    return x - ops.tanh(x)


def linear(x):
    """As it is."""
    return x


def pad(x, sides, value=0.0):  # ops.pad leaves no length known, and nn.GRU needs one
    for n, times in enumerate(sides):
        axis = x.ndim - 1 - n // 2
        if times:
            edge = ops.full_like(ops.narrow(x, axis, 0, 1), value)
            edge = ops.tile(edge, (1,) * axis + (times,) + (1,) * (n // 2))
            x = ops.cat([x, edge] if n % 2 else [edge, x], axis)
    return x


def softplus_of(x, beta, threshold):
    """softplus of beta * x, which above a threshold is taken for x itself."""
    return ops.where(x * beta > threshold, x, softplus(x * beta) / beta)


def logsumexp(x, axis, keepdim=False):
    """log of the sum of exp, also of large x and of rows of -inf."""
    top = ops.clamp(ops.amax(x, axis, True), -3.4e38, 3.4e38)
    found = ops.log(ops.sum(ops.exp(x - top), axis, keepdim=True)) + top
    return found if keepdim else ops.squeeze(found, axis)


def roll(x, shift, axis):
    """x, of which what leaves one end comes back at the other."""
    n = x.shape[axis]
    return ops.gather(x, (ops.arange(n) - shift) % n, axis)


def pad_edge(x, sides, mode):
    """Continue the last axes: sides are before and after each, the last axis first."""
    for i in range(len(sides) // 2):
        axis, n = x.ndim - 1 - i, x.shape[x.ndim - 1 - i]
        at = ops.arange(-sides[2 * i], n + sides[2 * i + 1])
        if mode == "circular":
            at = at % n
        elif mode == "replicate":
            at = ops.clamp(at, 0, n - 1)
        else:
            at = n - 1 - ops.abs(n - 1 - ops.abs(at))
        x = ops.gather(x, at, axis)
    return x


def place(index, x, axis):
    """Places along an axis, of which those below zero count from the end."""
    return ops.where(index < 0, index + x.shape[axis], index)


def conv_lstm(
    x,
    weight,
    h=None,
    c=None,
    activation=ops.tanh,
    recurrent_activation=ops.sigmoid,
):
    """Keras's ConvLSTM of gates (batch, time, 4 * filters, ...): y, last states."""
    conv = ops.conv3d if x.ndim == 6 else ops.conv2d
    line = x.ndim == 4  # nn.Conv1d's weight is one of images of one row
    x = x.expand_dims(3).swapaxes(0, 1) if line else x.swapaxes(0, 1)
    outputs = ops.zeros_like(ops.chunk(x, 4, 2)[0])
    if h is None:
        h = c = outputs[0]
    elif line:
        h, c = h.expand_dims(2), c.expand_dims(2)
    n = x.shape[0]
    t = ops.zeros((), ms.int64)
    while t < n:
        i, f, g, o = ops.chunk(x[t] + conv(h, weight, pad_mode="same"), 4, 1)
        c = recurrent_activation(f) * c + recurrent_activation(i) * activation(g)
        h = recurrent_activation(o) * activation(c)
        outputs[t] = h
        t += 1
    y = outputs.swapaxes(0, 1)
    return (y.squeeze(3), h.squeeze(2), c.squeeze(2)) if line else (y, h, c)
