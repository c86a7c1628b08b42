"""What a step of a random graph of Keras may be."""

# ruff: noqa: ARG001, ARG005 (functions of one signature)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import Input, Model, Sequential, layers, ops

KINDS = (layers.LSTM, layers.GRU, layers.SimpleRNN)
CELLS = (layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell)
JOINS = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum,
         layers.Minimum, layers.Concatenate)  # fmt: skip
MODES = ("concat", "sum", "mul", "ave", None)


@dataclass
class Made:
    """The layers of one value so far."""

    layers: list[Any]

    def keep(self, layer: Any) -> Any:
        self.layers.append(layer)
        return layer


def _of(s: Any, *, units: int | None = None, **options: Any) -> Any:
    """Return a recurrent layer with one of its settings."""
    kind = KINDS[s.mode % 3]
    odd = ({"go_backwards": True}, {"zero_output_for_mask": True}, {"use_bias": False},
           {"activation": "softsign"}, {"unroll": True}, {"dropout": 0.3})  # fmt: skip
    chosen = odd[s.mode % 6] if s.mode % 4 == 0 else {}
    if kind is layers.GRU and s.mode % 7 == 0:
        chosen["reset_after"] = False
    return kind(units or s.whole, **{**chosen, **options})


def _states(kind: Any, vector: Any) -> Any:
    return [vector, ops.tanh(vector)] if kind is layers.LSTM else vector


def _initial(m: Made, x: Any, y: Any, v: Any, s: Any) -> Any:
    layer = _of(s, units=v.shape[-1], return_sequences=s.flag)
    return layer(x, initial_state=_states(type(layer), v))


def _both_initial(m: Made, x: Any, y: Any, v: Any, s: Any) -> Any:
    kind, units = KINDS[s.mode % 3], v.shape[-1]
    layer = layers.Bidirectional(kind(units, return_sequences=True, return_state=s.flag))
    half = [v, ops.tanh(v)] if kind is layers.LSTM else [v]
    return layer(x, initial_state=[*half, *half[::-1]])


def _halves(s: Any, **options: Any) -> Any:
    turned = s.mode % 2 == 0
    back = KINDS[s.whole % 3](s.whole, go_backwards=not turned, **options)
    first = KINDS[s.mode % 3](s.whole, go_backwards=turned, **options)
    return layers.Bidirectional(first, backward_layer=back, merge_mode=MODES[s.mode % 4])


def _cells(s: Any, **options: Any) -> Any:
    cells = [CELLS[(s.mode + i * s.whole) % 3](2 + i) for i in range(1 + s.whole % 3)]
    return layers.RNN(cells, **options)


def _frames(m: Made, x: Any, y: Any, v: Any, s: Any) -> Any:
    """A ConvLSTM of what a sequence holds, of one channel or of all in each place."""
    shape = (*x.shape[1:], 1) if s.mode % 2 else (x.shape[1], 1, x.shape[2])
    layer = layers.ConvLSTM1D(
        s.whole, 1 + s.mode % 3, padding="same", return_sequences=s.flag,
        go_backwards=s.whole < 4 and s.mode % 5 == 0, activation=("tanh", "relu")[s.mode % 4 == 0],
    )  # fmt: skip
    wrapped = layers.Bidirectional(layer, merge_mode=MODES[s.mode % 4]) if s.whole > 3 else layer
    made = m.keep(wrapped)(layers.Reshape(shape)(ops.multiply(x, 1.0)))
    return layers.TimeDistributed(layers.Flatten())(made) if s.flag else layers.Flatten()(made)


def _nested(m: Made, x: Any, y: Any, v: Any, s: Any) -> Any:
    entry = Input(x.shape[1:])
    inner = layers.Masking()(entry) if s.flag else entry
    inner = _of(s, return_sequences=s.whole > 1)(inner)
    return m.keep(Model(entry, [inner, entry * s.number] if s.whole > 3 else inner))(x)


def _pair(m: Made, x: Any, y: Any, v: Any, s: Any) -> Any:
    """A model of two inputs, called twice."""
    entries = [Input(value.shape[1:]) for value in (x, y)]
    states = _of(s, units=3, return_state=True)(entries[0])[1:]
    last = KINDS[s.mode % 3](3, return_sequences=s.flag)(entries[1], initial_state=states)
    inner = Model(entries, last)
    return [inner([x, y]), inner([y, x])] if s.whole > 2 else inner([x, y])


def _again(m: Made, x: Any, y: Any, v: Any, s: Any) -> Any:
    return m.layers[s.mode % len(m.layers)](x)


def _of_steps(layer: Any) -> Callable[..., Any]:
    return lambda m, x, y, v, s: layers.TimeDistributed(layer(s))(x)


FUNCTIONS: dict[str, Callable[[Made, Any, Any, Any, Any], Any]] = {
    # name → function of (layers so far, two sequences, a vector, the step)
    "recurrent": lambda m, x, y, v, s: m.keep(_of(s, return_sequences=s.flag))(x),
    "sequences": lambda m, x, y, v, s: m.keep(_of(s, return_sequences=True))(x),
    "states": lambda m, x, y, v, s: _of(s, return_sequences=s.flag, return_state=True)(x),
    "initial": _initial,
    "both": lambda m, x, y, v, s: m.keep(
        layers.Bidirectional(_of(s, return_sequences=s.flag), merge_mode=MODES[s.mode % 5])
    )(x),
    "both_states": lambda m, x, y, v, s: layers.Bidirectional(
        _of(s, return_sequences=s.flag, return_state=True), merge_mode=MODES[s.mode % 4]
    )(x),
    "both_initial": _both_initial,
    "halves": lambda m, x, y, v, s: _halves(s, return_sequences=s.flag)(x),
    "both_cells": lambda m, x, y, v, s: layers.Bidirectional(_cells(s, return_sequences=s.flag))(x),
    "cells": lambda m, x, y, v, s: _cells(s, return_sequences=s.flag)(x),
    "cell_states": lambda m, x, y, v, s: _cells(s, return_sequences=True, return_state=True)(x)[0],
    "told_mask": lambda m, x, y, v, s: _of(s, return_sequences=True)(
        x, mask=ops.any(ops.greater(y, s.number - 0.5), axis=-1)
    ),
    "masking": lambda m, x, y, v, s: layers.Masking(0.0 if s.flag else s.number)(x),
    "relu_masking": lambda m, x, y, v, s: layers.Masking()(ops.relu(x - s.number)),
    "frames": _frames,
    "nested": _nested,
    "pair": _pair,
    "sequential": lambda m, x, y, v, s: m.keep(
        Sequential([layers.Masking(), layers.Dense(3), _of(s, return_sequences=s.flag)])
    )(x),
    "again": _again,
    "again_on": lambda m, x, y, v, s: _again(m, y, x, v, s),
    "td_dense": _of_steps(lambda s: layers.Dense(s.whole, activation="relu")),
    "td_model": _of_steps(lambda s: Sequential([layers.Dense(3), layers.LayerNormalization()])),
    "td_norm": _of_steps(lambda s: layers.BatchNormalization()),
    "td_drop": _of_steps(lambda s: layers.Dropout(0.3)),
    "dense": lambda m, x, y, v, s: m.keep(layers.Dense(s.whole, "tanh"))(x),
    "same": lambda m, x, y, v, s: m.keep(layers.Dense(4))(x),
    "vector": lambda m, x, y, v, s: layers.Dense(s.whole, "relu")(v),
    "norm": lambda m, x, y, v, s: layers.LayerNormalization()(x),
    "batch": lambda m, x, y, v, s: layers.BatchNormalization()(x),
    "adapted": lambda m, x, y, v, s: m.keep(
        layers.Normalization(axis=(-1, None)[s.mode % 2], invert=s.flag)
    )(x),
    "numbers": lambda m, x, y, v, s: layers.Normalization(
        mean=s.number, variance=1 + s.number**2, invert=s.flag
    )(x),
    "noise": lambda m, x, y, v, s: (
        layers.GaussianNoise(0.3) if s.flag else layers.SpatialDropout1D(0.2)
    )(x),
    "activation": lambda m, x, y, v, s: (layers.ReLU() if s.flag else layers.Activation("gelu"))(x),
    "softmax": lambda m, x, y, v, s: layers.Softmax(axis=1 if s.flag else -1)(x),
    "conv": lambda m, x, y, v, s: layers.Conv1D(
        s.whole, 2, padding=("same", "causal", "valid")[s.mode % 3], strides=1 + s.flag
    )(x),
    "pool": lambda m, x, y, v, s: (
        layers.GlobalAveragePooling1D() if s.flag else layers.GlobalMaxPooling1D()
    )(x),
    "shorter": lambda m, x, y, v, s: (
        layers.MaxPooling1D(2, padding="same") if s.flag else layers.Cropping1D((1, 0))
    )(x),
    "longer": lambda m, x, y, v, s: (layers.ZeroPadding1D(1) if s.flag else layers.UpSampling1D(2))(
        x
    ),
    "join": lambda m, x, y, v, s: JOINS[s.mode % 7]()([x, y]),
    "join_three": lambda m, x, y, v, s: layers.Concatenate()([x, y, x]),
    "join_time": lambda m, x, y, v, s: layers.Concatenate(axis=1)([x, y]),
    "join_vectors": lambda m, x, y, v, s: layers.Concatenate()([v, x[:, -1]]),
    "join_all": lambda m, x, y, v, s: layers.Multiply()([x, layers.Reshape((1, -1))(v)]),
    "dot": lambda m, x, y, v, s: layers.Dot(2 if s.flag else 1, normalize=s.whole > 3)([x, y]),
    "attention": lambda m, x, y, v, s: layers.Attention(use_scale=s.flag)([x, y]),
    "attention_causal": lambda m, x, y, v, s: layers.Attention(
        score_mode="concat" if s.flag else "dot"
    )([x, y], use_causal_mask=True),
    "told_attention": lambda m, x, y, v, s: (
        layers.Attention() if s.whole > 2 else layers.AdditiveAttention()
    )([x, y], mask=[ops.any(x > 0, axis=-1) if s.flag else None, ops.any(y > s.number, axis=-1)]),
    "additive": lambda m, x, y, v, s: layers.AdditiveAttention()([x, y]),
    "heads": lambda m, x, y, v, s: layers.MultiHeadAttention(2, s.whole)(
        x, y, use_causal_mask=s.flag
    ),
    "self": lambda m, x, y, v, s: x + layers.MultiHeadAttention(2, 2)(x, x),
    "told_heads": lambda m, x, y, v, s: layers.MultiHeadAttention(1, 3)(
        x, y, attention_mask=ops.matmul(x, ops.transpose(y, (0, 2, 1))) > s.number
    ),
    "last": lambda m, x, y, v, s: x[:, -1] if s.flag else x[:, s.whole % 3],
    "part": lambda m, x, y, v, s: x[:, 1:] if s.flag else x[..., : s.whole],
    "flip": lambda m, x, y, v, s: ops.flip(x, axis=1),
    "operators": lambda m, x, y, v, s: (x * s.number - 1.0) + y if s.flag else s.number / (x + 9),
    "weighted": lambda m, x, y, v, s: ops.sum(x * ops.softmax(y[..., :1], axis=1), axis=1),
    "repeat": lambda m, x, y, v, s: layers.RepeatVector(s.whole)(v),
    "flatten": lambda m, x, y, v, s: layers.Flatten()(x),
    "reshape": lambda m, x, y, v, s: layers.Reshape((-1, 2))(x),
    "permute": lambda m, x, y, v, s: layers.Permute((2, 1))(x),
    "mean": lambda m, x, y, v, s: ops.mean(x, axis=1, keepdims=s.flag),
}
