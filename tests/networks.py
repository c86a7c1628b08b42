"""Networks with weights that tell every mistake apart, and the judges of equality."""

from __future__ import annotations

import numpy as np

KINDS = ("LSTM", "GRU", "RNN tanh", "RNN relu")
FEATURES, HIDDEN, STEPS, BATCH = 5, 4, 7, 3


def close(found, expected, limit=2e-6):
    """Hold two arrays against ``limit`` × max(1, the largest expected value)."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))
    error = float(np.abs(found.astype("f8") - expected.astype("f8")).max())
    assert error <= limit * scale, f"differs by {error:.3g}, allowed {limit * scale:.3g}"


def fill(module, seed=0):
    """Give a torch module distinct weights, asymmetric biases and small pre-activations."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.is_floating_point():
                value.fill_(17)
                continue
            noise = torch.randn(value.shape, generator=generator) * 0.25
            positive = "running_var" in name or (value.dim() == 1 and name.endswith("weight"))
            value.copy_(noise.abs() + 0.6 if positive else noise + 0.07)
    return module.eval()


def torch_recurrent(kind, layers=1, directions=1, bias=True, seed=0, **options):
    """Return a filled, batch-first torch.nn recurrent layer."""
    import torch

    name, _, nonlinearity = kind.partition(" ")
    if nonlinearity:
        options["nonlinearity"] = nonlinearity
    layer = getattr(torch.nn, name)(
        FEATURES,
        HIDDEN,
        num_layers=layers,
        bias=bias,
        batch_first=True,
        bidirectional=directions == 2,
        **options,
    )
    return fill(layer, seed)


def inputs(kind, layers=1, directions=1, seed=1):
    """Return x (batch, time, features) and the initial states (one or two) as float32 arrays."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(2, layers * directions, BATCH, HIDDEN)).astype("f4") * 0.5
    x = rng.normal(size=(BATCH, STEPS, FEATURES)).astype("f4") * 0.5
    return x, states if kind == "LSTM" else states[:1]


def run_torch(layer, x, states):
    """Return [outputs, final h (, final c)] as arrays."""
    import torch

    given = tuple(torch.from_numpy(s) for s in states)
    with torch.no_grad():
        out, final = layer(torch.from_numpy(x), given if len(given) > 1 else given[0])
    return [a.numpy() for a in (out, *(final if isinstance(final, tuple) else (final,)))]


def run_mindspore(layer, x, states):
    import mindspore as ms

    given = tuple(ms.Tensor(s) for s in states)
    out, final = layer(ms.Tensor(x), given if len(given) > 1 else given[0])
    return [a.asnumpy() for a in (out, *(final if isinstance(final, tuple) else (final,)))]


def mindspore_recurrent(kind, layers=1, directions=1, bias=True):
    from mindspore import nn

    name, _, nonlinearity = kind.partition(" ")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    return getattr(nn, name)(
        FEATURES,
        HIDDEN,
        num_layers=layers,
        has_bias=bias,
        batch_first=True,
        bidirectional=directions == 2,
        **options,
    )


def load_strictly(cell, path):
    """Load a .ckpt into a MindSpore Cell; nothing may be missing or left over."""
    import mindspore as ms

    loaded = ms.load_checkpoint(str(path))
    assert ms.load_param_into_net(cell, loaded, strict_load=True) == ([], [])
    return loaded
