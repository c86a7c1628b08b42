"""What becomes of each option of the mapped layers: a page renders the table, and a test shows each
row on the real frameworks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class Fate(str, Enum):
    """What a conversion does with an option."""

    EXACT = "carried exactly"
    ARGUMENT = "constructor argument"
    NOTED = "noted"
    REFUSED = "refused"
    ALLOWED = "refused unless allowed by name"
    NOTHING = "without effect on inference"


class Row(NamedTuple):
    """An option of a source framework's layers, its fate, and what to do on the target."""

    framework: str
    option: str
    fate: Fate
    action: str


TABLE: Sequence[Row] = (
    Row("torch", "weights, gate order, states", Fate.EXACT, "load by the lines that are printed"),
    Row("torch", "input_size, hidden_size", Fate.ARGUMENT, "from the shapes"),
    Row("torch", "num_layers", Fate.ARGUMENT, "Keras: one layer each, `<path>_l0`, `<path>_l1`, …"),
    Row("torch", "bias", Fate.ARGUMENT, "MindSpore `has_bias`; Keras `use_bias`, the sum of both"),
    Row("torch", "bidirectional", Fate.ARGUMENT, "Keras: `Bidirectional`, merge_mode `concat`"),
    Row("torch", "batch_first", Fate.ARGUMENT, "not in a state_dict; Keras: the batch is first"),
    Row("torch", "dropout", Fate.ARGUMENT, "a float in MindSpore; not in a state_dict"),
    Row("torch", "nonlinearity", Fate.ARGUMENT, "not in a state_dict: tanh is assumed, and said"),
    Row("torch", "proj_size", Fate.REFUSED, "`--fold-proj`: an equal LSTM and a Dense, exactly"),
    Row("torch", "hx", Fate.NOTED, "MindSpore: LSTM takes a tuple, a cell must be given it"),
    Row("torch", "unbatched input", Fate.NOTED, "MindSpore takes 3-D input alone"),
    Row("torch", "packed sequences", Fate.NOTED, "MindSpore: `seq_length`; Keras: a mask"),
    Row("torch", "eps, momentum", Fate.ARGUMENT, "always said: the defaults differ"),
    Row("torch", "padding_mode", Fate.NOTED, "pad the input where it is not zeros"),
    Row("torch", "weight_norm, spectral_norm, prune", Fate.EXACT, "plain weights"),
    Row("torch", "orthogonal parametrization", Fate.REFUSED, "remove it before saving"),
    Row("torch", "GRU hidden_size on Ascend", Fate.NOTED, "an error with `--target ascend`"),
    Row("torch", "float16 on Ascend", Fate.NOTED, "with `--target ascend`: lost values by tensor"),
    Row("other", "gate order", Fate.EXACT, "`--gates iofc`, or an ecosystem: `--gates onnx`"),
    Row("other", "run-time forget bias", Fate.EXACT, "`--forget-bias 1.0`"),
    Row("other", "h' = (1 - z) h + z n", Fate.EXACT, "`--z-convention`"),
    Row("Keras", "weights, gate order", Fate.EXACT, "load by the lines that are printed"),
    Row("Keras", "units", Fate.ARGUMENT, "hidden_size"),
    Row("Keras", "use_bias", Fate.ARGUMENT, "the second bias of torch's layer is zero"),
    Row("Keras", "activation", Fate.ALLOWED, "tanh; SimpleRNN: also relu, as nonlinearity"),
    Row("Keras", "recurrent_activation", Fate.ALLOWED, "sigmoid; `--allow hard_sigmoid` and so on"),
    Row("Keras", "recurrent_activation not recorded", Fate.NOTED, "Keras before 2.3: hard_sigmoid"),
    Row("Keras", "unit_forget_bias", Fate.NOTHING, "part of the bias already"),
    Row("Keras", "initializers, regularizers, constraints", Fate.NOTHING, ""),
    Row("Keras", "implementation, unroll", Fate.NOTHING, "the same numbers"),
    Row("Keras", "dropout", Fate.NOTED, "on the input, in training only"),
    Row("Keras", "recurrent_dropout", Fate.NOTED, "in training only; the targets have none"),
    Row("Keras", "return_sequences", Fate.NOTED, "False: the last step; of a backward half t=0"),
    Row("Keras", "return_state", Fate.EXACT, "the targets always return the states"),
    Row("Keras", "stateful", Fate.NOTED, "hand the states to the next call"),
    Row("Keras", "initial_state", Fate.EXACT, "hx, with an axis for layers and directions"),
    Row("Keras", "time_major", Fate.NOTED, "batch_first=False"),
    Row("Keras", "go_backwards", Fate.NOTED, "reverse the input along time, not the output"),
    Row("Keras", "mask, mask_zero", Fate.NOTED, "MindSpore: `seq_length`; torch: pack"),
    Row("Keras", "zero_output_for_mask", Fate.NOTED, "set masked outputs to zero"),
    Row("Keras", "reset_after=True", Fate.EXACT, ""),
    Row("Keras", "reset_after=False", Fate.REFUSED, "`--network` writes a layer that has it"),
    Row("Keras", "merge_mode=concat", Fate.EXACT, ""),
    Row("Keras", "merge_mode, others", Fate.REFUSED, "`--network` writes both, and merges them"),
    Row("Keras", "backward_layer of another kind", Fate.REFUSED, "`--network` writes two layers"),
    Row("Keras", "epsilon, momentum", Fate.ARGUMENT, "momentum is 1 - momentum in torch"),
)  # fmt: skip


def markdown() -> str:
    """Return the table as Markdown, as it stands in the documentation."""
    lines = ["| from | option | what becomes of it | on the target |", "|---|---|---|---|"]
    lines += [f"| {r.framework} | {r.option} | {r.fate.value} | {r.action} |" for r in TABLE]
    return "\n".join(lines)
