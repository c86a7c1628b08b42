"""Features of attention, and of layers that compute otherwise with masks."""

from __future__ import annotations


def features(keras):
    """Return name → function of ``features.Inputs`` that gives a value or a list of them."""
    L = keras.layers  # noqa: N806

    def masked(value):
        return L.Masking()(value)

    def block(x, heads=3, size=2):
        """A transformer's first half, by the same value three times."""
        return L.LayerNormalization()(L.Add()([x, L.MultiHeadAttention(heads, size)(x, x)]))

    def by_products(i):
        seen = keras.ops.matmul(i.x, keras.ops.transpose(i.z, (0, 2, 1)))
        return L.MultiHeadAttention(2, 3)(i.x, i.z, attention_mask=seen)

    def beside(i):
        """Two layers that take one masked value: the first to run takes its mask away."""
        states, x = masked(i.z), masked(i.x)
        read = L.LSTM(3, return_sequences=True)(states)
        seen = L.MultiHeadAttention(2, 3)(states, states)
        scores = L.MultiHeadAttention(2, 3)(x, x)
        return [seen, L.Dense(2)(read), L.GRU(3)(x), L.Dense(2)(scores)]

    def told(i):
        """Masks by name, beside those of the values, and none where a value has one."""
        x, z = (keras.ops.any(value > 0.1, axis=-1) for value in (i.x, i.z))
        rows = [
            *(([i.x, i.z], [None, z]), ([masked(i.x), masked(i.z)], [x, None])),
            *(([i.x, i.z, i.z], [x, z]), ([masked(i.x), i.z, masked(i.x)], [None, z, x])),
        ]
        return [
            L.LSTM(2)(layer()(values, mask=masks))
            for layer in (L.Attention, L.AdditiveAttention)
            for values, masks in rows
        ]

    found = {
        "Attention-told": told,
        "MultiHead-beside": beside,
        "Attention": lambda i: L.Attention()([i.x, i.z]),
        "Attention-key": lambda i: L.Attention()([i.x, i.z, i.x]),
        "Attention-masked": lambda i: L.Attention()([masked(i.x), masked(i.z)]),
        "Attention-hands-its-mask-on": lambda i: L.LSTM(3)(
            L.Attention()([masked(i.x), masked(i.z)])
        ),
        "Attention-scale": lambda i: L.Attention(use_scale=True)([i.x, i.z]),
        "Attention-concat": lambda i: L.Attention(score_mode="concat")([i.x, masked(i.z)]),
        "Attention-concat-scale": lambda i: L.Attention(score_mode="concat", use_scale=True)(
            [i.x, i.z]
        ),
        "Attention-causal": lambda i: L.Attention()([i.x, masked(i.z)], use_causal_mask=True),
        "Attention-scores": lambda i: L.Attention()([i.x, i.z], return_attention_scores=True),
        "AdditiveAttention": lambda i: L.AdditiveAttention()([masked(i.x), i.z]),
        "AdditiveAttention-plain": lambda i: L.AdditiveAttention(use_scale=False)(
            [i.x, masked(i.z)]
        ),
        "MultiHead": lambda i: L.MultiHeadAttention(2, 3)(i.x, i.z),
        "MultiHead-sizes": lambda i: L.MultiHeadAttention(2, 3, value_dim=4, output_shape=5)(
            i.x, masked(i.z)
        ),
        "MultiHead-nobias": lambda i: L.MultiHeadAttention(3, 1, use_bias=False)(
            L.Dense(6)(i.x), i.z, i.x
        ),
        "MultiHead-masked": lambda i: L.MultiHeadAttention(2, 3)(masked(i.x), masked(i.z)),
        "MultiHead-hands-its-mask-on": lambda i: L.GRU(3)(
            L.MultiHeadAttention(2, 3)(masked(i.x), masked(i.z))
        ),
        "MultiHead-key-masked": lambda i: L.MultiHeadAttention(3, 1)(
            i.x, masked(i.z), masked(i.x)
        ),
        "MultiHead-by-name": lambda i: L.MultiHeadAttention(3, 1)(
            query=i.x, value=masked(i.z), key=i.x
        ),
        "MultiHead-takes-masks-away": lambda i: block(block(masked(i.x))),
        "MultiHead-pooled": lambda i: L.GlobalAveragePooling1D()(block(masked(i.x))),
        "MultiHead-causal": lambda i: L.MultiHeadAttention(3, 1)(i.x, i.z, use_causal_mask=True),
        "MultiHead-causal-masked": lambda i: L.MultiHeadAttention(3, 1)(
            i.x, masked(i.z), use_causal_mask=True
        ),
        "MultiHead-dropout-masked": lambda i: L.MultiHeadAttention(3, 1, dropout=0.1)(
            masked(i.x), masked(i.z)
        ),
        "MultiHead-dropout-causal": lambda i: L.MultiHeadAttention(3, 1, dropout=0.1)(
            i.x, i.z, use_causal_mask=True
        ),
        "MultiHead-scores": lambda i: L.MultiHeadAttention(2, 3)(
            i.x, masked(i.z), return_attention_scores=True
        ),
        "MultiHead-scores-masked": lambda i: L.MultiHeadAttention(2, 3)(
            masked(i.x), masked(i.z), return_attention_scores=True
        ),
        "MultiHead-attention-mask": by_products,
        "PReLU-places": lambda i: L.PReLU()(i.x),
        "PReLU-rows": lambda i: L.PReLU(shared_axes=[2])(masked(i.x)),
        "PReLU-vector": lambda i: L.PReLU()(i.v),
        "td-model": lambda i: L.TimeDistributed(
            keras.Sequential([L.Masking(), L.LSTM(3)])
        )(i.image),
    }  # fmt: skip
    for name in ("Multiply", "Maximum", "Minimum"):
        layer = getattr(L, name)
        found |= {
            f"{name}-masked": lambda i, layer=layer: L.LSTM(3)(layer()([masked(i.x), masked(i.z)])),
            f"{name}-masked-values": lambda i, layer=layer: layer()([masked(i.x), masked(i.z)]),
            f"{name}-one-masked": lambda i, layer=layer: layer()([i.x, masked(i.z), i.x]),
        }
    return found
