"""Where a row's check is registered, and what all checks share."""

from __future__ import annotations

import numpy as np
import torch

INPUT, HIDDEN, STEPS, BATCH = 4, 5, 6, 3
CLOSE = 5e-6


class Checks(dict):
    """(framework, option) → the function that shows it, given a folder."""

    def row(self, framework, *options):
        def register(function):
            self.update(((framework, option), function) for option in options)
            return function

        return register


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def flat(value):
    if isinstance(value, tuple | list):
        for part in value:
            yield from flat(part)
    else:
        yield value.numpy() if torch.is_tensor(value) else value.asnumpy()


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=CLOSE)


def differ(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).max()) > 1e-3
