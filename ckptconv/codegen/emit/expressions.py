"""THE table of operations: op → how each target writes it.

``{0}`` and ``{1}`` are values, ``{all}`` all of them, other braces arguments of the node. A row in
brackets is an operator, which stands in parentheses inside of other expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ckptconv.codegen.emit import spelling
from ckptconv.codegen.emit.functions import FUNCTIONS
from ckptconv.codegen.emit.text import number

Arguments = spelling.Arguments


class Row(NamedTuple):
    """How an operation is written.

    Attributes:
        torch: text, or a function of the arguments that returns it.
        mindspore: the same; empty where it is the same.
        atom: no operator is outermost.
    """

    torch: str | Callable[[Arguments], str]
    mindspore: str | Callable[[Arguments], str] = ""
    atom: bool = True

    def template(self, target: str, arguments: Arguments) -> str:
        """Return the text with braces for its values."""
        text = (target != "torch" and self.mindspore) or self.torch
        return text(arguments) if callable(text) else text


def _operator(symbol: str) -> Row:
    return Row(f"{{0}} {symbol} {{1}}", atom=False)


def _named(name: str, other: str) -> Row:
    return Row(f"torch.{name}({{0}}, {other})", f"ops.{name}({{0}}, {other})")


_BITS = [(name, word) for name in ("bitwise", "logical") for word in ("and", "or", "xor")]


def _reduce(torch: str, mindspore: str, keep: tuple[str, str]) -> Row:
    def row(call: str, word: str) -> Callable[[Arguments], str]:
        def text(a: Arguments) -> str:
            axes = a["axes"][0] if len(a["axes"]) == 1 else a["axes"]
            kept = f", {word}=True" if a.get("keep") else ""
            return str(call.replace("AXES", number(axes)).replace("KEEP", kept))

        return text

    return Row(row(torch, keep[0]), row(mindspore, keep[1]))


EXPRESSIONS: Mapping[str, Row] = {
    **{op: Row(f"{torch}({{0}})", f"{ms}({{0}})") for op, (torch, ms) in FUNCTIONS.items()},
    "module": Row("{0}"),
    "add": _operator("+"),
    "subtract": _operator("-"),
    "multiply": _operator("*"),
    "divide": _operator("/"),
    "floor_divide": _operator("//"),
    "remainder": _operator("%"),
    "add_number": Row("{0} + {number}", atom=False),
    "subtract_number": Row("{0} - {number}", atom=False),
    "multiply_number": Row("{0} * {number}", atom=False),
    "divide_number": Row("{0} / {number}", atom=False),
    "floor_divide_number": Row("{0} // {number}", atom=False),
    "remainder_number": Row("{0} % {number}", atom=False),
    "number_subtract": Row("{number} - {0}", atom=False),
    "number_add": Row("{number} + {0}", atom=False),
    "number_multiply": Row("{number} * {0}", atom=False),
    "number_divide": Row("{number} / {0}", atom=False),
    "power_number": Row("torch.pow({0}, {number})", "ops.pow({0}, {number})"),
    "number_power": Row("torch.pow({number}, {0})", "ops.pow({number}, {0})"),
    "power": Row("torch.pow({0}, {1})", "ops.pow({0}, {1})"),
    "affine": Row("{0} * {scale} + {offset}", atom=False),
    "maximum": Row("torch.maximum({0}, {1})", "ops.maximum({0}, {1})"),
    "minimum": Row("torch.minimum({0}, {1})", "ops.minimum({0}, {1})"),
    **{f"{name}_{word}": _named(f"{name}_{word}", "{1}") for name, word in _BITS},
    **{f"bitwise_{word}_number": _named(f"bitwise_{word}", "{number}") for _, word in _BITS[:3]},
    "matmul": Row("torch.matmul({0}, {1})", "ops.matmul({0}, {1})"),
    "compare": Row(lambda a: spelling.compare(a, "{1}"), atom=False),
    "compare_number": Row(lambda a: spelling.compare(a, "{number}"), atom=False),
    "masked_fill": Row("{0}.masked_fill({1}, {value})"),
    "where": Row("torch.where({0}, {1}, {2})", "ops.where({0}, {1}, {2})"),
    "where_number": Row("torch.where({0}, {1}, {number})", "ops.where({0}, {1}, {number})"),
    "convert": Row(lambda a: f"{{0}}.to(torch.{a['dtype']})",
                   lambda a: f"{{0}}.astype(ms.{a['dtype']})"),
    "sdpa": Row("nn.functional.scaled_dot_product_attention({0}, {1}, {2})",
                "scaled_dot_product_attention({0}, {1}, {2})"),
    "clip": Row("torch.clamp({0}, {low}, {high})", "ops.clamp({0}, {low}, {high})"),
    "threshold": Row("nn.functional.threshold({0}, {theta}, 0.0)",
                     "ops.where({0} > {theta}, {0}, ops.zeros_like({0}))"),
    "softmax": Row("torch.softmax({0}, dim={axis})", "ops.softmax({0}, axis={axis})"),
    "log_softmax": Row("torch.log_softmax({0}, dim={axis})", "ops.log_softmax({0}, axis={axis})"),
    "softplus": Row("nn.functional.softplus({0}, {beta}, {threshold})",
                    "softplus_of({0}, {beta}, {threshold})"),
    # MindSpore's elu takes no alpha but 1.
    "elu": Row("nn.functional.elu({0}, {alpha})",
               "ops.relu({0}) + {alpha} * ops.minimum(ops.elu({0}), 0)"),
    "leaky_relu": Row("nn.functional.leaky_relu({0}, {slope})", "ops.leaky_relu({0}, {slope})"),
    "concat": Row("torch.cat([{all}], dim={axis})", "ops.cat([{all}], {axis})"),
    "stack": Row("torch.stack([{all}], dim={axis})", "ops.stack([{all}], {axis})"),
    "flatten": Row("{0}.flatten(1)", "ops.flatten({0})"),
    "reshape": Row(lambda a: "{0}.reshape(-1, " + ", ".join(map(number, a["sizes"])) + ")"
                   if -1 not in a["sizes"]
                   else "{0}.reshape({0}.shape[0], " + ", ".join(map(number, a["sizes"])) + ")"),
    "view": Row(lambda a: f"{{0}}.reshape({', '.join(map(spelling.size, a['sizes'])) or '()'})"),
    "tile": Row(lambda a: f"{{0}}.repeat({', '.join(map(spelling.size, a['times']))})",
                lambda a: f"ops.tile({{0}}, ({spelling.sizes(a['times'])}))"),
    "full": Row(spelling.filled(True), spelling.filled(False)),
    "constant": Row(spelling.constant(True), spelling.constant(False)),
    "full_as": Row(spelling.filled_as(True), spelling.filled_as(False)),
    "steps": Row(spelling.steps(True), spelling.steps(False)),
    "dense": Row("nn.functional.linear({all})", "ops.dense({all})"),
    "convolve": Row(spelling.convolved(True), spelling.convolved(False)),
    "glu": Row("nn.functional.glu({0}, {axis})", "ops.glu({0}, {axis})"),
    "gelu_tanh": Row('nn.functional.gelu({0}, approximate="tanh")',
                     'ops.gelu({0}, approximate="tanh")'),
    "permute": Row(spelling.order),
    "expand": Row("{0}.unsqueeze({axis})", "{0}.expand_dims({axis})"),
    "squeeze": Row("{0}.squeeze({axis})"),
    "like": Row("{0}.reshape({1}.shape)"),
    "fold": Row("{0}.flatten(0, 1)", "{0}.reshape((-1,) + {0}.shape[2:])"),
    "unfold": Row("{0}.reshape({1}.shape[:2] + {0}.shape[1:])"),
    "repeat_vector": Row(spelling.repeat_vector(True), spelling.repeat_vector(False)),
    "repeat": Row("{0}.repeat_interleave({times}, dim={axis})",
                  "ops.repeat_elements({0}, {times}, {axis})"),
    "interpolate": Row(spelling.interpolated(True), spelling.interpolated(False)),
    "nan_to_num": Row("torch.nan_to_num({0}, {nan})", "ops.nan_to_num({0}, {nan})"),
    "index": Row(spelling.cuts),
    "take": Row(spelling.taken(True), spelling.taken(False)),
    "pad": Row(lambda a: f"nn.functional.pad({spelling.padded(a)})",
               lambda a: f"{spelling.pad_of_mindspore(a)}({spelling.padded(a)})"),
    "pad_same": Row("pad_same({0}, {size}, {stride})", "{0}"),  # MindSpore's layers pad so
    "pad_edge": Row("nn.functional.pad({0}, {sides}, mode={mode})",
                    "pad_edge({0}, {sides}, {mode})"),
    "roll": Row("{0}.roll({shift}, {axis})", "roll({0}, {shift}, {axis})"),
    "tril": Row("{0}.tril({diagonal})", "ops.tril({0}, {diagonal})"),
    "triu": Row("{0}.triu({diagonal})", "ops.triu({0}, {diagonal})"),
    "flip": Row("{0}.flip({axis})", "ops.flip({0}, ({axis},))"),
    "any": _reduce("{0}.any(AXESKEEP)", "ops.any({0}, AXESKEEP)", ("keepdim", "keep_dims")),
    "all": _reduce("{0}.all(AXESKEEP)", "ops.all({0}, AXESKEEP)", ("keepdim", "keep_dims")),
    "argmax": Row("{0}.argmax({axis}, {keep})", "ops.argmax({0}, {axis}, {keep})"),
    "argmin": Row("{0}.argmin({axis}, {keep})", "ops.argmin({0}, {axis}, {keep}).astype(ms.int64)"),
    "prod": Row("{0}.prod({axis}, {keep})", "ops.prod({0}, {axis}, {keep})"),
    "topk": Row("{0}.topk({k}, {axis})[0]", "ops.topk({0}, {k}, {axis})[0]"),
    "cumsum": Row("{0}.cumsum({axis})", "ops.cumsum({0}, {axis})"),
    "gather": Row("{0}.gather({axis}, {1})", "ops.gather_elements({0}, {axis}, {1})"),
    "one_hot": Row("nn.functional.one_hot({0}, {size})", "ops.one_hot({0}, {size}, 1, 0)"),
    "fill_masked": Row("torch.where({1}.unsqueeze(-1), {0}, {value})",
                       "ops.where({1}.expand_dims(-1), {0}, {value})"),
    "attend": Row(lambda a: "attend({all}, heads={heads}"
                  f"{', zero_masked=True' * a['zero_masked']})"),
    "conv_lstm": Row(spelling.gated(True), spelling.gated(False)),
    "mask_scores": Row("torch.where({1}, {0}, {0} - 1e9)", "ops.where({1}, {0}, {0} - 1e9)"),
    "causal": Row("causal({0}, {1})"),
    "unit": Row("nn.functional.normalize({0}, dim={axis})", "unit({0}, {axis})"),
    "ones_mask": Row("torch.ones({0}.shape[:2], dtype=torch.bool)",
                     "ops.ones({0}.shape[:2], ms.bool_)"),
    "ones_like": Row("torch.ones_like({0}, dtype=torch.bool)",
                     "ops.ones_like({0}).astype(ms.bool_)"),
    "zeros_like": Row("torch.zeros_like({0}, dtype=torch.bool)",
                      "ops.zeros_like({0}).astype(ms.bool_)"),
    "to_int": Row("{0}.int()", "{0}.astype(ms.int32)"),
    "masked_mean": Row(lambda a: f"masked_mean({{0}}, {{1}}{', keepdim=True' * a['keep']})"),
    "mean": _reduce("{0}.mean(AXESKEEP)", "ops.mean({0}, AXESKEEP)", ("keepdim", "keep_dims")),
    "sum": _reduce("{0}.sum(AXESKEEP)", "ops.sum({0}, AXESKEEP)", ("keepdim", "keepdim")),
    "var": _reduce("{0}.var(AXES, correction={correction}KEEP)",
                   "ops.var({0}, AXES, {correction}KEEP)", ("keepdim", "keepdims")),
    "std": _reduce("{0}.std(AXES, correction={correction}KEEP)",
                   "ops.std({0}, AXES, {correction}KEEP)", ("keepdim", "keepdims")),
    "logsumexp": _reduce("{0}.logsumexp(AXESKEEP)", "logsumexp({0}, AXESKEEP)",
                         ("keepdim", "keepdim")),
    "amax": _reduce("{0}.amax(AXESKEEP)", "ops.amax({0}, AXESKEEP)", ("keepdim", "keepdims")),
    "amin": _reduce("{0}.amin(AXESKEEP)", "ops.amin({0}, AXESKEEP)", ("keepdim", "keepdims")),
    "max_pool": Row(lambda a: spelling.pool(a, f"nn.functional.max_pool{a['rank']}d")),
    "avg_pool": Row(lambda a: spelling.pool(a, f"nn.functional.avg_pool{a['rank']}d")),
    "max_pool_same": Row(lambda a: spelling.pool(a, "max_pool_same")),
    "avg_pool_same": Row(lambda a: spelling.pool(a, "avg_pool_same")),
}  # fmt: skip


def expression(
    op: str, target: str, values: Sequence[str], arguments: Arguments
) -> tuple[str, bool]:
    """Return (the text of an operation, whether it can stand anywhere)."""
    row = EXPRESSIONS[op]
    function = FUNCTIONS.get(op)
    if function is not None and not arguments:
        return f"{function[target != 'torch']}({values[0]})", True
    words = {key: spelling.size(value).format(*values) for key, value in arguments.items()}
    return row.template(target, arguments).format(*values, all=", ".join(values), **words), row.atom
