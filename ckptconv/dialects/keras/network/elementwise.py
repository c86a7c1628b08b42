"""Activations: Keras's names and layers → ops, by the version that wrote the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptconv.dialects.keras.activations import activation
from ckptconv.dialects.keras.model_config import INERT, entry
from ckptconv.dialects.keras.network.builder import Builder, Site, masked
from ckptconv.dialects.keras.network.promotion import WHOLE_DTYPES, floats
from ckptconv.errors import CkptconvError, LossyError
from ckptconv.graph.network import Value

_FUNCTIONS = {
    **{name: name for name in ("relu", "sigmoid", "tanh", "selu", "elu", "softplus", "softsign")},
    **{name: name for name in ("relu6", "mish", "gelu", "silu", "celu", "softmax", "log_softmax")},
    **{"swish": "silu", "exponential": "exp", "log_sigmoid": "log_sigmoid"},
    **{"hard_silu": "hard_silu", "hard_swish": "hard_silu", "hard_tanh": "hard_tanh"},
    **{"leaky_relu": "leaky_relu", "tanh_shrink": "tanh_shrink", "hard_sigmoid": "hard_sigmoid"},
    **{"soft_shrink": "soft_shrink", "hard_shrink": "hard_shrink"},
}
"""Keras's activation functions → ops."""
ALONG_AN_AXIS = ("softmax", "log_softmax")
"""Those that are no functions of each number by itself."""

_CHANGE_COLOURS = (
    *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast"),
    *("RandomGrayscale", "RandomHue", "RandomInvert", "RandomPosterization", "RandomSaturation"),
)
_GIVE_FLOATS = (
    *("RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur"),
    *("RandomPerspective", "RandomRotation", "RandomSharpness", "RandomShear"),
    *("RandomTranslation", "RandomZoom"),
)
"""Layers that change images in training only; these make floats of them always."""

IDENTITY = "linear"
_KERAS = ("keras.", "tensorflow.keras", "tf_keras", "builtins")


def activation_name(b: Builder, value: Any, where: str) -> str:
    """Return the op of a serialised activation function; ``linear`` for none.

    Raises:
        LossyError: a function of the user's, or one that is not known.
    """
    name = value
    if isinstance(value, dict):  # a function, or a layer object, as an object
        inner = value.get("config")
        package = str(value.get("module") or "keras.")
        known = package.startswith(_KERAS) and value.get("registered_name") in (None, "function")
        name = inner if isinstance(inner, str) and known and package != "builtins" else None
    if name in (None, IDENTITY) and not isinstance(value, dict):
        return IDENTITY
    if name == "hard_sigmoid" and b.version < (3, 0):
        return "hard_sigmoid_02"
    if not isinstance(name, str) or name not in _FUNCTIONS:
        raise LossyError(
            f"the activation {activation(value)} is none of Keras's functions"[:200],
            tensor=where,
        )
    return _FUNCTIONS[name]


def activate(b: Builder, x: Value, value: Any, where: str) -> Value:
    """Apply a serialised activation: a function's name, or a layer."""
    layer = entry(value) if isinstance(value, dict) else None
    if layer is not None and layer.class_name in RULES:
        return RULES[layer.class_name](b, Site(layer, (where,), (x,)))[0]
    op = activation_name(b, value, where)
    if op == IDENTITY:
        return x
    return masked(b.add(op, (x,)), x.mask)


def _activation(b: Builder, site: Site) -> list[Value]:
    return [activate(b, site.x, site.get("activation"), site.where)]


def cell_activation(b: Builder, value: Any, where: str) -> str:
    """Return the op of a cell's activation; of a layer object with its numbers: ``elu(0.5)``.

    Raises:
        LossyError: as ``activation_name``, or a layer that a cell cannot hold.
    """
    layer = entry(value) if isinstance(value, dict) else None
    if layer is None or layer.class_name not in {"Activation", *_OPS}:
        return activation_name(b, value, where)
    site = Site(layer, (where,), ())
    if layer.class_name == "Activation":
        return cell_activation(b, site.get("activation"), where)
    op, numbers = _OPS[layer.class_name](site)
    return f"{op}({', '.join(map(str, numbers.values()))})" if numbers else op


def relu(site: Site) -> tuple[str, dict[str, Any]]:
    """Return the op that a ReLU is, and its numbers.

    Raises:
        LossyError: a combination of settings that none is.
    """
    high, slope = site.get("max_value"), number(site, "negative_slope", default=0.0)
    threshold = number(site, "threshold", default=0.0)
    if threshold == 0 and high is None:
        return ("leaky_relu", {"slope": slope}) if slope else ("relu", {})
    if threshold == 0 and slope == 0:
        return "clip", {"low": 0.0, "high": number(site, "max_value")}
    raise site.refuse("ReLU with a threshold, or with a slope and a highest value")


def _leaky(site: Site) -> tuple[str, dict[str, Any]]:
    return "leaky_relu", {"slope": number(site, "negative_slope", "alpha", default=0.3)}


def _elu(site: Site) -> tuple[str, dict[str, Any]]:
    alpha = number(site, "alpha", default=1.0)
    return "elu", {"alpha": alpha} if alpha != 1 else {}


_OPS: dict[str, Callable[[Site], tuple[str, dict[str, Any]]]] = {
    "ReLU": relu,
    "LeakyReLU": _leaky,
    "ELU": _elu,
}
"""Layers that are one op of each number → it and its arguments."""


def _by_op(b: Builder, site: Site) -> list[Value]:
    op, numbers = _OPS[site.layer.class_name](site)
    return [masked(b.add(op, (site.x,), **numbers), site.x.mask)]


def _thresholded(b: Builder, site: Site) -> list[Value]:
    made = b.add("threshold", (site.x,), theta=number(site, "theta", default=1.0))
    return [masked(made, site.x.mask)]


def _softmax(b: Builder, site: Site) -> list[Value]:
    axis = site.get("axis", default=-1)
    x = site.x
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if not isinstance(axis, int) or not -x.rank <= axis < x.rank:
        raise site.refuse("Softmax over several axes")
    axis = axis if axis < 0 else axis - x.rank
    if x.mask is not None and b.version >= (2, 4):
        raise site.refuse("Softmax with a mask")
    return [masked(b.add("softmax", (x,), axis=axis), x.mask)]


def _same(_: Builder, site: Site) -> list[Value]:
    return [site.x]


def _identity(b: Builder, site: Site) -> list[Value]:
    return [masked(site.x, since_3(b, site.x.mask))]


def since_3(b: Builder, mask: Value | None) -> Value | None:
    """Return the mask behind a layer that hands none on in a Keras before 3."""
    return mask if b.version >= (3, 0) else None


def _image(b: Builder, site: Site) -> list[Value]:
    x = site.x
    if b.version < (3, 0) and x.dtype in WHOLE_DTYPES:
        raise site.refuse("images of whole numbers that a Keras before 3 changes at random")
    return [masked(floats(b, x) if site.layer.class_name in _GIVE_FLOATS else x, None)]


def _dropout(b: Builder, site: Site) -> list[Value]:
    rate = number(site, "rate", "p", default=0.5)
    if rate == 1:  # of which MindSpore has none
        return [site.x]
    return [masked(b.add("dropout", (site.x,), rate=float(rate)), site.x.mask)]


def _rescaling(b: Builder, site: Site) -> list[Value]:
    scale, offset = number(site, "scale", default=1.0), number(site, "offset", default=0.0)
    made = b.add("affine", (site.x,), scale=scale, offset=offset)
    return [masked(made, since_3(b, site.x.mask))]


def number(site: Site, *keys: str, default: float | None = None) -> float:
    """Return a setting that is a number.

    Raises:
        CkptconvError: it is something else.
    """
    return _checked(site, keys[0], site.get(*keys, default=default))


def numbers(site: Site, key: str) -> list[float]:
    """Return a setting that is a number or a list of them.

    Raises:
        CkptconvError: it is something else.
    """
    found = site.get(key)
    rows = found if isinstance(found, list) and found else [found]
    return [_checked(site, key, value) for value in rows]


def _checked(site: Site, key: str, value: Any) -> float:
    if isinstance(value, dict):  # a serialised numpy number
        value = value.get("config", {}).get("value", value) if entry(value) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e30:
        raise CkptconvError(f"{key} is no number", tensor=site.where, found=str(value)[:80])
    return value


RULES = {
    "Activation": _activation,
    **dict.fromkeys(_OPS, _by_op),
    "ThresholdedReLU": _thresholded,
    "Softmax": _softmax,
    "Rescaling": _rescaling,
    **dict.fromkeys(INERT, _same),
    "Identity": _identity,
    **dict.fromkeys((*_CHANGE_COLOURS, *_GIVE_FLOATS), _image),
    "Dropout": _dropout,
}
"""Layers without weights that act on each number, or in training only."""
