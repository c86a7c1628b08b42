"""What becomes of each option of the mapped layers: THE table, and the notes that follow from it.

The table in the README is rendered from here, and a test shows each row on the real frameworks.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from ckptconv.codegen.constructor_table import base_kind
from ckptconv.graph.graph import Layer


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
    Row("torch", "weights, gate order, states", Fate.EXACT, "load strictly"),
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
    Row("Keras", "weights, gate order", Fate.EXACT, "load strictly"),
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
    Row("Keras", "go_backwards", Fate.NOTED, "reverse the input along time, and the output again"),
    Row("Keras", "mask, mask_zero", Fate.NOTED, "MindSpore: `seq_length`; torch: pack"),
    Row("Keras", "zero_output_for_mask", Fate.NOTED, "set masked outputs to zero"),
    Row("Keras", "reset_after=True", Fate.EXACT, ""),
    Row("Keras", "reset_after=False", Fate.REFUSED, "train with reset_after=True"),
    Row("Keras", "merge_mode=concat", Fate.EXACT, ""),
    Row("Keras", "merge_mode, others", Fate.REFUSED, "two layers in the target, merged by you"),
    Row("Keras", "backward_layer of another kind", Fate.REFUSED, "two layers in the target"),
    Row("Keras", "epsilon, momentum", Fate.ARGUMENT, "momentum is 1 - momentum in torch"),
)  # fmt: skip


class Note(NamedTuple):
    """What a user of a target must know of every layer of some kinds.

    With ``attribute``, only of those for which the source records one of ``values``.
    """

    kinds: tuple[str, ...]
    targets: tuple[str, ...]
    text: str
    attribute: str = ""
    values: tuple[object, ...] = ()


_ABSENT = object()
_MINDSPORE = ("mindspore", "mint")
_SEQUENCES = ("LSTM", "GRU", "RNN")
_CHANNELS = ("Conv", "ConvTranspose", "BatchNorm", "GroupNorm", "InstanceNorm")
NOTES: Sequence[Note] = (
    Note(_SEQUENCES, _MINDSPORE, "takes 3-D input alone; sequences of different lengths (packed or "
         "masked in the source) need seq_length, and outputs beyond it are zero"),
    Note(("LSTM",), _MINDSPORE, "hx is the tuple (h_0, c_0)"),
    Note(("LSTMCell",), _MINDSPORE, "hx, the tuple (h, c), must be given; returns such a tuple"),
    Note(("GRUCell", "RNNCell"), _MINDSPORE, "hx must be given; takes 2-D input alone"),
    Note(_SEQUENCES, ("keras",), "takes (batch, time, features); sequences of different lengths "
         "(packed in the source) need a mask; return_state=True gives the last states"),
    Note(("EmbeddingBag",), (*_MINDSPORE, "keras"), "only looks up: reduce the bag yourself"),
    Note(_CHANNELS, ("keras",), "channels are the last axis"),
    Note(_CHANNELS, (*_MINDSPORE, "keras"), "padding_mode is not zeros: pad the input yourself",
         "padding_mode", ("reflect", "replicate", "circular")),
    Note(("BatchNorm",), (*_MINDSPORE, "keras"), "momentum=None, a cumulative average in training, "
         "has no equal", "momentum", (None,)),
)  # fmt: skip


def standing_notes(layer: Layer, target: str) -> list[str]:
    """Return what a user of ``target`` must know of this layer, beside how it is built."""
    return [note.text for note in NOTES if _applies(note, layer, target)]


def _applies(note: Note, layer: Layer, target: str) -> bool:
    if target not in note.targets or base_kind(layer.kind)[0] not in note.kinds:
        return False
    recorded = layer.attributes.get(note.attribute, _ABSENT)
    return not note.attribute or any(recorded == value for value in note.values)


def markdown() -> str:
    """Return the table as Markdown, as it stands in the README."""
    lines = ["| from | option | what becomes of it | on the target |", "|---|---|---|---|"]
    lines += [f"| {r.framework} | {r.option} | {r.fate.value} | {r.action} |" for r in TABLE]
    return "\n".join(lines)
