"""Drawing models: every layer that holds weights, every option, nesting, sharing, nasty names."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.differential.keras_models.spec import Plan, Spec

NAMES = ("forward_x", "backward_x", "forward_lstm", "query", "key", "value", "attention_output",
         "dense", "lstm", "dense_2", "lstm_1", "cell", "layers", "größe", "层", "forward_layer",
         "a_b", "lstm_cell", "bn", "model", "layer_norm", "embed")  # fmt: skip
SAVINGS = {
    **{"keras": 30, "h5": 20, "weights.h5": 18, "h5 weights": 7, "sharded": 3, "keras 2 h5": 10},
    **{"weights.h5, model.json": 6, "h5 weights, model.json": 4, "sharded, model.json": 2},
}
_ODD = 0.12


class Draw:
    """One model's worth of random choices."""

    def __init__(self, seed: str) -> None:
        self.rng = Random(seed)
        self.used: set[str] = set()
        self.last: tuple[str, int] = ("", 0)
        self.shared: list[Spec] = []

    @property
    def tails(self) -> set[str]:
        """What follows ``forward_`` and ``backward_`` in the names so far."""
        return {n.partition("_")[2] for n in self.used if n.startswith(("forward_", "backward_"))}

    def odd(self, chance: float = _ODD) -> bool:
        return self.rng.random() < chance

    def size(self) -> int:
        return self.rng.randint(1, 4)

    def some(self, **options: Any) -> dict[str, Any]:
        """Return each option with a small chance, drawn from its values."""
        return {k: self.rng.choice(v) for k, v in options.items() if self.odd()}

    def named(self) -> dict[str, Any]:
        free = [name for name in NAMES if name not in self.used]
        if not free or not self.odd(0.25):
            return {}
        mates = [n for n in free if n.partition("_")[2] and n.partition("_")[2] in self.tails]
        self.used.add(name := self.rng.choice(mates or free))
        return {"name": name}

    def activation(self, *, gated: bool = False) -> Any:
        plain = ["relu", "sigmoid", "linear", "tanh", "elu", "hard_sigmoid"]
        objects = [Spec("ReLU", {"max_value": 0.3}), Spec("LeakyReLU", {"negative_slope": 0.4}),
                   Spec("own>tanh")]  # fmt: skip
        return self.rng.choice(plain[1:] if gated else [*plain, *objects])

    # --- recurrent layers

    def recurrent_options(self, cls: str) -> dict[str, Any]:
        options: dict[str, Any] = {"units": self.size()}
        if self.odd():
            options["activation"] = self.activation()
        if not cls.startswith("SimpleRNN") and self.odd(0.08):
            options["recurrent_activation"] = self.activation(gated=True)
        if cls.startswith("GRU"):
            options |= self.some(reset_after=[True, False])
        if cls.startswith("SimpleRNN") and self.odd(0.4):
            options["activation"] = "relu"
        return options | self.some(use_bias=[False], dropout=[0.3], recurrent_dropout=[0.2])

    def sequence_options(self, sequences: bool) -> dict[str, Any]:
        options = {"return_sequences": True} if sequences else {}
        return options | self.some(go_backwards=[True], unroll=[True])

    def recurrent(self, sequences: bool) -> Spec:
        cls, units = self.last
        again = cls and self.odd(0.45)  # stacks of like layers are what people build
        cls = cls if again else self.rng.choice(["LSTM", "GRU", "SimpleRNN"])
        if not again and self.odd(0.25):
            kinds = [self.rng.choice(["LSTMCell", "GRUCell", "SimpleRNNCell"])] * 3
            if self.odd(0.3):
                kinds = [self.rng.choice(["LSTMCell", "GRUCell", "SimpleRNNCell"]) for _ in "123"]
            cells = [Spec(k, self.recurrent_options(k)) for k in kinds[: self.rng.randint(1, 3)]]
            cell: Any = cells if len(cells) > 1 or self.odd() else cells[0]
            return Spec("RNN", {"cell": cell, **self.sequence_options(sequences), **self.named()})
        options = self.recurrent_options(cls) | self.sequence_options(sequences)
        options |= {"units": units} if again else {}
        self.last = (cls, options["units"])
        return Spec(cls, options | self.named())

    def bidirectional(self, sequences: bool) -> Spec:
        inner = self.recurrent(sequences)
        inner.options.pop("go_backwards", None) if self.odd(0.8) else None
        options: dict[str, Any] = {"layer": inner, **self.named()}
        turned = bool(inner.options.get("go_backwards"))
        if turned or self.odd(0.25):
            kind = inner.name if self.odd(0.8) else "GRU"
            flip = {"return_sequences": True} if sequences else {}
            back = {"units": 2} if kind == "RNN" else self.recurrent_options(kind)
            if "units" in inner.options and self.odd(0.8):
                back["units"] = inner.options["units"]
            if kind != "RNN":
                options["backward_layer"] = Spec(kind, back | flip | {"go_backwards": not turned})
        return Spec("Bidirectional", options | self.some(merge_mode=["sum", "mul", "ave"]))

    # --- the other layers, by the rank of their input

    def dense(self) -> Spec:
        options: dict[str, Any] = {"units": self.size(), **self.some(use_bias=[False])}
        if self.odd(0.2):
            options["activation"] = self.activation()
        return Spec("Dense", options | self.named())

    def einsum_dense(self) -> Spec:
        options = {"equation": "abc,cd->abd", "output_shape": (None, self.size())}
        return Spec("EinsumDense", options | self.some(bias_axes=["d"], activation=["relu"]))

    def norm(self, rank: int) -> Spec:
        cls = self.rng.choice(["LayerNormalization", "BatchNormalization", "GroupNormalization",
                               "RMSNormalization"])  # fmt: skip
        options: dict[str, Any] = {}
        if cls != "RMSNormalization":
            options |= self.some(scale=[False], center=[False])
        options |= self.some(epsilon=[1e-2, 1e-4, 1])
        if cls == "LayerNormalization":
            options |= self.some(rms_scaling=[True])
        if rank > 2 and self.odd(0.2):
            wide = cls in ("LayerNormalization", "RMSNormalization")
            options["axis"] = self.rng.choice([1, [1, 2]] if wide and rank == 3 else [1])
        if cls == "GroupNormalization":
            options["groups"] = self.rng.choice([1, -1])
        if cls == "BatchNormalization":
            options |= self.some(momentum=[0.9])
        return Spec(cls, options | self.named())

    def conv(self, n: int) -> Spec:
        cls = self.rng.choice([f"Conv{n}D"] * 3 + [f"Conv{n}DTranspose"] * 2)
        options: dict[str, Any] = {"filters": self.size(), "kernel_size": self.rng.randint(1, 3)}
        options |= self.some(use_bias=[False], strides=[2], padding=["same"])
        if self.odd(0.3):
            options["padding"] = "same"
        if self.odd(0.25):
            options["strides"] = self.rng.choice([2, 2, 3])
        elif self.odd(0.2):
            options["dilation_rate"] = 2
        if cls == "Conv1D" and self.odd(0.2):
            options["padding"] = "causal"
        if cls.endswith("Transpose"):
            pass
        elif n > 1 and self.odd():
            options["data_format"] = "channels_first"
        if n == 1 and self.odd(0.15):
            cls = self.rng.choice(["SeparableConv1D", "DepthwiseConv1D"])
            options.pop("dilation_rate", None)
            options.pop("filters") if cls.startswith("Dep") else None
        if cls.endswith("Transpose") and options.get("strides", 1) > 1 and self.odd():
            options["output_padding"] = 1
        if self.odd():
            options["activation"] = self.activation()
        return Spec(cls, options | self.named())

    def attention(self) -> Spec:
        kind = self.rng.random()
        if kind < 0.7:
            options: dict[str, Any] = {"num_heads": 2, "key_dim": 2}
            options |= self.some(use_bias=[False], dropout=[0.2], value_dim=[3], output_shape=[3],
                                 attention_axes=[(1,)], use_gate=[True])  # fmt: skip
            return Spec("cross" if self.odd(0.6) else "self",
                        {"layer": Spec("MultiHeadAttention", options | self.named())})  # fmt: skip
        if kind < 0.8:
            heads = {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1}
            inner = Spec("GroupQueryAttention", heads)
            return Spec("cross", {"layer": inner})
        return Spec("pair", {"layer": self.rng.choice([
            Spec("Attention", {"use_scale": True}), Spec("AdditiveAttention")])})  # fmt: skip

    def prelu(self, rank: int) -> Spec:
        shared = list(range(1, rank - 1)) if self.odd(0.6) else None
        return Spec("PReLU", {"shared_axes": shared} if shared else {})

    def weightless(self, rank: int) -> Spec:
        choices = [Spec("ReLU"), Spec("Dropout", {"rate": 0.5}), Spec("Activation",
                   {"activation": "sigmoid"}), Spec("LayerNormalization")]  # fmt: skip
        return self.rng.choice(choices) if rank else choices[0]

    def custom(self, rank: int) -> Spec:
        names = ["own>Dense", "own>LayerNormalization", "own>Scale"]
        names += ["own>LSTM", "own>Block", "own>Pair"] if rank == 3 else []
        name = self.rng.choice(names)
        sized = {"own>Dense", "own>LSTM", "own>Block", "own>Pair"}
        options: dict[str, Any] = {"units": self.size()} if name in sized else {}
        options |= {"return_sequences": True} if name == "own>LSTM" else {}
        if name == "own>Block" and self.odd(0.4):
            options["activation"] = "relu"
        return Spec(name, options | self.named())

    def layer(self, rank: int, *, last: bool) -> tuple[Spec, int]:
        """Return a layer for input of ``rank`` axes (with the batch), and its output's rank."""
        if rank == 3:
            return self._of_sequences(last=last)
        pick = self.rng.random()
        if rank == 2:
            if pick < 0.45:
                return self.dense(), 2
            if pick < 0.55:
                return Spec("RepeatVector", {"n": 3}), 3
            if pick < 0.85:
                return self.norm(2), 2
            return (self.custom(2), 2) if pick < 0.92 else (self.prelu(2), 2)
        if pick < 0.5:
            return self.conv(rank - 2), rank
        if pick < 0.7:
            return self.norm(rank), rank
        if pick < 0.8:
            return self.prelu(rank), rank
        return (Spec("Flatten"), 2) if pick < 0.92 else (self.dense(), rank)

    def _of_sequences(self, *, last: bool) -> tuple[Spec, int]:
        sequences = not (last and self.odd(0.5))
        after = 3 if sequences else 2
        table: list[tuple[float, Any]] = [
            (26, lambda: (self.recurrent(sequences), after)),
            (16, lambda: (self.bidirectional(sequences), after)),
            (8, lambda: (self.dense(), 3)),
            (8, lambda: (self.norm(3), 3)),
            (9, lambda: (self.conv(1), 3)),
            (8, lambda: (self.attention(), 3)),
            (3, lambda: (self.prelu(3), 3)),
            (8, lambda: (self.custom(3), 3)),
            (3, lambda: (Spec("Flatten"), 2)),
            (3, lambda: (Spec("TimeDistributed", {"layer": self.dense()} | self.named()), 3)),
            (3, lambda: (Spec("TimeDistributed", {"layer": self.norm(2)} | self.named()), 3)),
            (2, lambda: (self.einsum_dense(), 3)),
            (1, lambda: (Spec("SpectralNormalization", {"layer": self.dense()}), 3)),
            (5, lambda: (self.weightless(3), 3)),
        ]  # fmt: skip
        weights = [weight for weight, _ in table]
        return self.rng.choices([make for _, make in table], weights)[0]()

    # --- models

    def chain(self, rank: int, length: int, depth: int = 0) -> tuple[list[Spec], int]:
        steps: list[Spec] = []
        for i in range(length):
            pick = self.rng.random()
            if rank == 3 and pick < 0.06 and self.shared:
                steps.append(Spec("again", {"index": self.rng.randrange(9)}))
            elif rank == 3 and pick < 0.14 and depth < 3:
                inner, rank = self.chain(rank, self.rng.randint(1, 2), depth + 1)
                cls = self.rng.choice(["Sequential", "Functional"])
                steps.append(Spec(cls, {"layers": inner, **self.named()}))
            elif rank == 3 and pick < 0.20 and depth < 2:
                sides = [self.recurrent(True) for _ in "12"]
                steps.append(Spec(self.rng.choice(["parallel", "residual"]), {"layers": sides}))
            else:
                step, rank = self.layer(rank, last=i == length - 1)
                steps.append(step)
                self.shared.append(step)
        return steps, rank


def plan(seed: str) -> Plan:
    """Return the model and the way that a seed stands for."""
    draw = Draw(seed)
    rng = draw.rng
    rank = rng.choices([2, 3, 4, 5], [8, 70, 18, 4])[0]
    features, steps = rng.choice([(2, 4), (3, 5), (4, 4), (4, 6)])
    shape = {2: (features,), 3: (steps, features), 4: (5, 4, features), 5: (4, 3, 4, 2)}[rank]
    tokens = rank == 3 and draw.odd(0.1)
    length = rng.choices([1, 2, 3, 4], [45, 30, 15, 10])[0]
    cls = rng.choices(["Sequential", "Functional", "Subclassed"], [45, 43, 12])[0]
    chain, _ = draw.chain(rank, length)
    if tokens:
        vocabulary = {"input_dim": 7, "output_dim": features, **draw.some(mask_zero=[True])}
        chain, shape = [Spec("Embedding", vocabulary), *chain], (steps,)
    model = Spec(cls, {"layers": chain, **draw.named()})
    saving = rng.choices(list(SAVINGS), list(SAVINGS.values()))[0]
    if cls == "Subclassed":
        saving = rng.choice(["weights.h5", "weights.h5", "sharded"])
    target = rng.choices(["torch", "mindspore", "mint"], [78, 19, 3])[0]
    fuse = draw.odd(0.6) and str(model).count("return_sequences") > 1
    quantized = " Dense" in f" {model}" and draw.odd(0.1)
    quantize = draw.rng.choice(("int8", "float8")) if quantized else ""
    lora = ("Dense" in str(model) or "Embedding" in str(model)) and not quantize and draw.odd(0.05)
    return Plan(model, shape, tokens, saving, target, quantize, lora, fuse)
