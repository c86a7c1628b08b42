"""Stateful layers: their states are inputs and results of the network, call after call."""

from __future__ import annotations

import numpy as np

import ckptconv
from tests.network.test_features import fill
from tests.network.written import close, flat, run_torch, written

BATCH = 3


def stateful(path):
    """Save a model of stateful layers; return it as a function, and three inputs of it."""
    import keras

    keras.backend.clear_session()
    L = keras.layers  # noqa: N806
    x = keras.Input(batch_shape=(BATCH, 6, 3), name="x")
    lstm = L.LSTM(4, stateful=True, return_sequences=True, name="first")(x)
    model = keras.Model(
        x,
        [
            L.GRU(4, stateful=True, reset_after=False, name="second")(lstm),
            L.GRU(4, stateful=True, return_sequences=True)(L.Masking()(x)),
            L.SimpleRNN(4, stateful=True, activation="relu", go_backwards=True)(x),
            L.Bidirectional(L.LSTM(3, stateful=True), merge_mode="sum")(x),
            L.LSTM(2, stateful=True, return_state=True)(x)[2],
        ],
    )
    fill(model)
    model.save(path)
    rng = np.random.RandomState(3)
    given = [rng.uniform(-1, 1, (BATCH, 6, 3)).astype(np.float32) for _ in range(3)]
    for value in given:
        value[0, :2], value[1, 4:] = 0, 0
    return model, given


def check(path, run, limit):
    model, given = stateful(path)
    inputs = ckptconv.network(path).inputs
    assert [value.name for value in inputs[:4]] == ["x", "first_h", "first_c", "second_h"]
    states = [np.zeros((BATCH, *value.shape[1:]), np.float32) for value in inputs[1:]]
    for x in given:
        wanted = [np.asarray(value.detach()) for value in flat(model(x))]
        found = run([x, *states])
        close(found[: len(wanted)], wanted, limit)
        states = found[len(wanted) :]
        assert len(states) == len(inputs) - 1
        assert all(np.abs(state).max() > 0 for state in states)


def test_in_torch(tmp_path):
    made = []

    def run(arrays):
        made[:] = made or written(tmp_path / "m.keras", "torch", tmp_path)
        return run_torch(made[0], made[1], arrays)

    check(tmp_path / "m.keras", run, 2e-6)


def test_in_mindspore(tmp_path):
    import mindspore as ms

    made = []

    def run(arrays):
        if not made:
            module, weights, _ = written(tmp_path / "m.keras", "mindspore", tmp_path)
            made.append(module.load(str(weights)))
        return [value.asnumpy() for value in flat(made[0](*map(ms.Tensor, arrays)))]

    check(tmp_path / "m.keras", run, 5e-6)
