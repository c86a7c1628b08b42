"""Keras's recurrent cells: gates, axes, biases, and the options that must be a torch layer's.

Shapes in Keras: kernel (in, G·u), recurrent_kernel (u, G·u); bias (G·u), for GRU with
``reset_after`` (2, 3u). The CuDNN layers keep two biases in one row, (2·G·u), and each gate's
block of a matrix as the bytes of its transpose. Keras 1 keeps each gate's arrays apart.

One bias becomes (bias, zeros) and two become their sum, which splits again as (sum, zeros).
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.dialects.evidence import hint_of
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.settings import by_network, settings
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.forms import classes, gate_order
from ckptconv.graph.gates import BY_COUNT, CANONICAL, order, permutation, permute
from ckptconv.graph.graph import Cell
from ckptconv.options import ReadOptions
from ckptconv.spelling import option
from ckptconv.tensors.computed import BOTH_BIASES, add
from ckptconv.tensors.ops import concat, cut, divide, reshape, transpose
from ckptconv.tensors.tensor import FilledTensor, Tensor, names_and_shapes

ORDER = {kind: gate_order(FORMS, kind) for kind in CANONICAL}
_APART = {"LSTM": "icfo", "GRU": "zrh"}
"""Keras 1's gates, each in arrays of its own, in the letters of their names."""
CLASSES = {name: kinds[0] for name, kinds in classes(FORMS).items() if kinds[0] in CANONICAL}
"""Keras's recurrent layers → their kinds."""


def is_recurrent(unit: Unit) -> bool:
    """Tell whether a unit's weights are those of a recurrent layer or cell."""
    if unit.entry and unit.entry.class_name.removesuffix("Cell") in CLASSES:
        return True
    named = {"recurrent_kernel", "U_i", "U_z"} & set(unit.leaves)
    words = ("lstm", "gru", "simple_rnn", "cell")
    held = unit.word.removesuffix("_cell") in words or unit.half is not None
    numbered = held and set(unit.leaves) <= {"0", "1", "2"}
    return bool(named or (unit.entry is None and (numbered or (unit.in_cell and unit.leaves))))


def lift_cell(unit: Unit, options: ReadOptions, *, any_gru: bool = False) -> tuple[str, Cell]:
    """Return (kind, the canonical parameters of one layer and direction).

    Args:
        any_gru: take a GRU with ``reset_after=False`` too; its one bias is the input's.

    Raises:
        DialectError: shapes or a number of weights that are no recurrent layer's.
        LossyError: GRU with ``reset_after=False``, which has no equal.
    """
    leaves = _named(unit)
    kind = _kind(unit, leaves, told=hint_of(options.kinds, unit.path) is not None)
    if "U_i" in leaves or "U_z" in leaves:
        leaves = _joined(unit, kind, leaves)
    kernel, recurrent, bias = (leaves.get(n) for n in ("kernel", "recurrent_kernel", "bias"))
    if kernel is None or recurrent is None or kernel.ndim != 2 or recurrent.ndim != 2:
        raise _wrong(unit, "kernel and recurrent_kernel, both 2-D")
    gates, hidden = len(CANONICAL[kind]), recurrent.shape[0]
    if recurrent.shape[1] != gates * hidden or kernel.shape[1] != gates * hidden:
        raise _wrong(unit, f"(in, {gates}·units) and (units, {gates}·units) of a {kind}")
    cudnn = _is_cudnn(unit, bias, gates * hidden)
    first, second = _biases(unit, kind, bias, gates * hidden, cudnn, None if any_gru else options)
    matrix = _from_cudnn if cudnn else _from_keras
    weights = matrix(kernel, kind), matrix(recurrent, kind)
    return kind, Cell(*weights, *(_reordered(b, kind) for b in (first, second)))


def lower_cell(cell: Cell, kind: str) -> dict[str, Tensor]:
    """Return Keras's weights of a cell, in Keras's order."""
    src, dst = CANONICAL[kind], ORDER[kind]
    weights = {
        "kernel": transpose(permute(cell.w_ih, 0, src, dst), (1, 0)),
        "recurrent_kernel": transpose(permute(cell.w_hh, 0, src, dst), (1, 0)),
    }
    if cell.b_ih is not None and cell.b_hh is not None:
        rows = [permute(bias, 0, src, dst) for bias in (cell.b_ih, cell.b_hh)]
        if kind == "GRU":
            weights["bias"] = _two_rows(rows)
        else:
            weights["bias"] = add(rows[0], rows[1], BOTH_BIASES)
    return weights


def _two_rows(rows: list[Tensor]) -> Tensor:
    return concat([reshape(row, (1, row.size)) for row in rows], 0, "two biases as rows")


def _named(unit: Unit) -> dict[str, Tensor]:
    """Return the weights by leaf; numbers stand for kernel, recurrent_kernel, bias in order."""
    names = ("kernel", "recurrent_kernel", "bias")
    if not all(leaf.isdecimal() for leaf in unit.leaves):
        known = {*names, *(f"{a}_{g}" for a in "WUb" for g in "icfozrh")}
        if not set(unit.leaves) <= known:
            raise _wrong(unit, "kernel, recurrent_kernel and bias alone")
        return unit.leaves
    if list(unit.leaves) != [str(i) for i in range(len(unit.leaves))] or len(unit.leaves) > 3:
        raise _wrong(unit, "2 or 3 weights")
    return dict(zip(names, unit.leaves.values(), strict=False))


def _kind(unit: Unit, leaves: Mapping[str, Tensor], *, told: bool) -> str:
    """Tell LSTM, GRU and RNN apart by the columns of the recurrent kernel per unit."""
    recurrent = leaves.get("recurrent_kernel")
    if recurrent is not None and recurrent.ndim == 2 and recurrent.shape[0]:
        ratio, rest = divmod(recurrent.shape[1], recurrent.shape[0])
        found = None if rest else BY_COUNT.get(ratio)
    else:
        found = "LSTM" if "U_i" in leaves else "GRU" if "U_z" in leaves else None
    class_name = unit.entry.class_name if unit.entry else ""
    said = CLASSES.get(class_name.removesuffix("Cell"))
    if class_name and said is None and not told:
        raise LossyError(
            f"{class_name} has no equal in torch and MindSpore",
            tensor=unit.path,
            hint=f"{option('kinds', {unit.path: found})}; if it computes what that does"
            if found
            else None,
        )
    if recurrent is not None and recurrent.ndim > 2:
        raise LossyError(
            "a convolutional LSTM has no equal in torch and MindSpore",
            tensor=unit.path,
            expected="a recurrent_kernel of (units, gates·units)",
            found=recurrent.shape,
        )
    if found is None or said not in (None, found):
        raise _wrong(unit, f"the weights of {class_name or 'a LSTM, GRU or SimpleRNN'}")
    return found


def _joined(unit: Unit, kind: str, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join Keras 1's arrays of each gate as later versions keep them."""
    spelled = dict(zip(order(kind, _APART[kind]), _APART[kind], strict=True))
    joined = {}
    for name, letter in (("kernel", "W"), ("recurrent_kernel", "U"), ("bias", "b")):
        parts = [leaves.get(f"{letter}_{spelled[gate]}") for gate in ORDER[kind]]
        present = [part for part in parts if part is not None]
        if len(present) != len(parts):
            raise _wrong(unit, f"{letter}_{', '.join(_APART[kind])} each")
        if any(part.shape != present[0].shape for part in present) or not present[0].ndim:
            raise _wrong(unit, "arrays of equal shape for each gate")
        joined[name] = concat(present, present[0].ndim - 1, "join of the gates")
    return joined


def _is_cudnn(unit: Unit, bias: Tensor | None, width: int) -> bool:
    class_name = unit.entry.class_name if unit.entry else ""
    return class_name.startswith("CuDNN") or (bias is not None and bias.shape == (2 * width,))


def _biases(
    unit: Unit, kind: str, bias: Tensor | None, width: int, cudnn: bool, options: ReadOptions | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return (b_ih, b_hh) in Keras's gate order."""
    if kind == "GRU" and not cudnn and options is not None:
        _require_reset_after(unit, bias, width, options)
    if bias is None:
        return None, None
    two_rows = kind == "GRU" and (options is not None or bias.ndim == 2)
    expected = (2 * width,) if cudnn else (2, width) if two_rows else (width,)
    if bias.shape != expected:
        raise _wrong(unit, f"a bias of {expected}")
    if expected == (width,):
        return bias, FilledTensor((width,), bias.dtype, 0)
    first, second = divide(reshape(bias, (2, width)), 0, 2)
    return reshape(first, (width,)), reshape(second, (width,))


def _require_reset_after(unit: Unit, bias: Tensor | None, width: int, options: ReadOptions) -> None:
    hint = hint_of(options.kinds, unit.path)
    told = {**settings(unit), **(hint.arguments if hint else {})}.get("reset_after")
    if bias is not None:
        told = bias.shape == (2, width)
    if told is None:
        raise DialectError(
            "nothing tells whether this GRU has reset_after: it has no bias",
            tensor=unit.path,
            hint=f"{option('kinds', {unit.path: 'GRU(reset_after=True)'})}; if it has",
        )
    if told is not True:
        beside = "" if unit.entry else f"{option('config', 'model.json')} "
        raise LossyError(
            "GRU with reset_after=False has no equal in torch and MindSpore, whatever the weights",
            tensor=unit.path,
            expected=f"a bias of {(2, width)}, as reset_after=True gives",
            found=f"a bias of {bias.shape}" if bias is not None else "reset_after=False",
            hint=f"{beside}{by_network()}",
        )


def _from_keras(matrix: Tensor, kind: str) -> Tensor:
    return transpose(permute(matrix, 1, ORDER[kind], CANONICAL[kind]), (1, 0))


def _from_cudnn(matrix: Tensor, kind: str) -> Tensor:
    width, hidden = matrix.shape[0], matrix.shape[1] // len(ORDER[kind])
    blocks = [
        reshape(cut(matrix, 1, i * hidden, (i + 1) * hidden), (hidden, width), "CuDNN's block")
        for i in permutation(ORDER[kind], CANONICAL[kind])
    ]
    return concat(blocks, 0, f"gates {','.join(ORDER[kind])} → {','.join(CANONICAL[kind])}")


def _reordered(bias: Tensor | None, kind: str) -> Tensor | None:
    return None if bias is None else permute(bias, 0, ORDER[kind], CANONICAL[kind])


def _wrong(unit: Unit, expected: str) -> DialectError | LossyError:
    if unit.entry is not None and unit.entry.class_name.removesuffix("Cell") not in CLASSES:
        return LossyError(
            f"{unit.entry.class_name} has no equal in torch and MindSpore",
            tensor=unit.path,
            found=names_and_shapes(unit.leaves),
        )
    return DialectError(
        "not the weights of a recurrent layer that is converted",
        tensor=unit.path,
        expected=expected,
        found=names_and_shapes(unit.leaves),
    )
