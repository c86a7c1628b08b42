"""Gate orders and the one convention they are translated through.

Canonical here, in this order along axis 0 of every stacked parameter: LSTM **i, f, g, o**; GRU
**r, z, n**, with the reset gate applied after the recurrent product; RNN has one block. Weights
are ``w_ih (G·H, in)``, ``w_hh (G·H, H)``, biases ``b_ih, b_hh (G·H)``. With σ the logistic
function, ⊙ the elementwise product and x, h the input and the previous hidden state:

LSTM, previous cell state c::

    i = σ(W_i x + b_ii + U_i h + b_hi)        f = σ(W_f x + b_if + U_f h + b_hf)
    g = tanh(W_g x + b_ig + U_g h + b_hg)     o = σ(W_o x + b_io + U_o h + b_ho)
    c' = f ⊙ c + i ⊙ g                        h' = o ⊙ tanh(c')

    with w_hr (P, H), "proj_size":            h' = w_hr (o ⊙ tanh(c'))

GRU::

    r = σ(W_r x + b_ir + U_r h + b_hr)        z = σ(W_z x + b_iz + U_z h + b_hz)
    n = tanh(W_n x + b_in + r ⊙ (U_n h + b_hn))
    h' = (1 - z) ⊙ n + z ⊙ h

RNN::

    h' = φ(W x + b_i + U h + b_h),  φ = tanh or relu

These are torch's equations (``torch.nn.LSTM``, ``GRU``, ``RNN``) and MindSpore's. Keras's GRU is
the same with ``reset_after=True``; with ``reset_after=False`` it applies r to h *before* the
product, and no weights make the two equal. ``verification/reference`` computes them in NumPy.
"""

from __future__ import annotations

from ckptconv.errors import CkptconvError
from ckptconv.tensors.ops import concat, divide
from ckptconv.tensors.tensor import Tensor

CANONICAL = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}
"""Kind → gates in the order of the canonical graph; also the number of gates."""
BY_COUNT = {len(gates): kind for kind, gates in CANONICAL.items()}
"""Number of gates → kind."""

ORDERS = {
    # ecosystem: (LSTM, GRU); None where the ecosystem has no such layer or stores gates apart
    "torch": ("ifgo", "rzn"),
    "mindspore": ("ifgo", "rzn"),
    "keras": ("ifgo", "zrn"),
    "keras1": ("igfo", "zrn"),
    "mindspore-dynamicrnn": ("igfo", "rzn"),
    "mindspore-lite": ("iofg", None),
    "paddle": ("ifgo", "rzn"),
    "mxnet": ("ifgo", "rzn"),
    "cudnn": ("ifgo", None),
    "onednn": ("ifgo", "zrn"),
    "onnx": ("iofg", "zrn"),
    "tf1": ("igfo", None),
    "haiku": ("igfo", "zrn"),
    "coreml": ("ifog", None),
    "openvino": ("figo", "zrn"),
    "ncnn": ("ifog", None),
    "cntk": ("igfo", "zrn"),
    "dynet": ("ifog", None),
    "caffe2": ("ifog", None),
}
"""Gate orders in other ecosystems, in canonical letters (Keras's c is g, its h is n)."""

FLAT = {
    "cpu": "the layout of cpu",
    "gpu": "the layout of gpu",
    "ascend": "names of MindSpore's LSTM on Ascend before 1.6",
}
"""Layout of an LSTM of MindSpore before 1.6 → how a layer is known to have it."""

_SPELLINGS = {"LSTM": {"c": "g", "j": "g"}, "GRU": {"h": "n", "u": "z"}, "RNN": {}}


def order(kind: str, spelling: str) -> str:
    """Return a gate order in canonical letters.

    Args:
        kind: ``LSTM``, ``GRU`` or ``RNN``.
        spelling: an ecosystem of ``ORDERS`` (``onnx``) or the letters (``i,f,c,o`` or ``iofc``).

    Raises:
        CkptconvError: not an order of this kind's gates.
    """
    known = dict(zip(("LSTM", "GRU"), ORDERS.get(spelling.lower(), (None, None)), strict=True))
    letters = known.get(kind) or spelling.lower().replace(",", "").replace(" ", "")
    letters = "".join(_SPELLINGS[kind].get(letter, letter) for letter in letters)
    if sorted(letters) != sorted(CANONICAL[kind]):
        raise CkptconvError(
            f"'{spelling}' is not an order of the gates of {kind}",
            expected=f"a permutation of {','.join(CANONICAL[kind])}",
            hint="one of " + ", ".join(ORDERS),
        )
    return letters


def permutation(src: str, dst: str) -> tuple[int, ...]:
    """Return for each letter of ``dst`` its place in ``src``; serves gates and axes alike."""
    return tuple(src.index(letter) for letter in dst)


def permute(tensor: Tensor, axis: int, src: str, dst: str) -> Tensor:
    """Reorder the gate blocks stacked along ``axis`` from order ``src`` to order ``dst``."""
    if src == dst:
        return tensor
    blocks = divide(tensor, axis, len(src))
    label = f"gates {','.join(src)} → {','.join(dst)}"
    return concat([blocks[i] for i in permutation(src, dst)], axis, label)
