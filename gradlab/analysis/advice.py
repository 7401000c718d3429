"""One sentence on what to change, from what was measured and what theory says exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

from gradlab.analysis.group import Group

_HE = {"he_normal", "he_uniform"}
_LEAKY = {"leaky_relu", "elu", "selu", "gelu", "silu", "softplus"}
_WITHOUT_LAYER_NORM = {"custom", "rnn", "transformer"}
"""Families that don't know `model.norm: layer`."""
_MANY_DEAD_AT_START = 0.5
"""Where more than this share of the units that end dead were dead before training, training is not to blame."""


def advice(group: Group) -> str | None:
    """What is wrong with a group that isn't healthy, with its figures, and what it has not tried yet.

    The remedies are those whose effect is known: wide He-initialised relu networks and orthogonal linear ones keep the
    gradient's size (He et al. 2015; Saxe et al. 2014), a residual connection carries it past the layers (He et al.
    2016), layer normalisation keeps pre-activations in range (Ba et al. 2016), batch normalisation without residual
    connections lets it explode (Yang et al. 2019). Along time gated cells keep it (Hochreiter & Schmidhuber 1997) and
    clipping its norm bounds what an explosion does (Pascanu et al. 2013); in transformers normalisation before each
    sublayer keeps its size over depth (Xiong et al. 2020).
    """
    write = _SENTENCES.get(group.diagnosis)
    return write(group) if write else None


def _failed(group: Group) -> str:
    reason = (group.error or "no reason is recorded").strip().splitlines()[0]
    return f"{group.failed} of {group.trials} trials failed: {reason}"


def _diverged(group: Group) -> str:
    lr = group.settings.get("lr")
    where = f"the loss of {group.diverged} of {group.trials} trials is not finite"
    if group.diverged_step is None:
        return f"{where}; try a smaller learning rate."
    if group.diverged_step == 0 or lr == 0:
        return f"{where} before any learning; try {_smaller_weights(group)}, or check the data for huge values."
    grows = group.decay.log10 is not None and group.decay.log10 > math.log10(1.05)
    cause = f", where the gradient grows {_times(group.decay.log10)} {_step(group)}" if grows else ""
    rate = f"lr {lr:g} is too large" if lr else "the learning rate is too large"
    smaller = f"; try {lr / 10 if lr <= 10 else 0.1:g}" if lr else "; try a tenth of it"
    return f"{where} from step {group.diverged_step:g} on: {rate} for {_subject(group)}{cause}{smaller}."


def _dead(group: Group) -> str:
    return f"a hidden layer is entirely dead, and no gradient passes it ({_share_dead(group)}); {_revive(group)}."


def _dying(group: Group) -> str:
    return f"{_share_dead(group)}; {_revive(group)}."


def _vanishing(group: Group) -> str:
    if group.along_time:
        return f"{_rate(group)}; {'; '.join(_longer_memory(group))}."
    if group.settings.get("family") == "transformer":
        return f"{_rate(group)}; {_pre_norm(group)}."
    norm, residual, custom = _architecture(group)
    tries = []
    if not (norm or residual or custom):
        tries += _critical(group)
    if not residual:
        tries.append(
            "a residual connection between its layers carries the gradient past them"
            if custom
            else "a residual connection (model.residual: true) carries the gradient past the layers"
        )
    elif not (norm or custom):
        tries.append("layer norm (model.norm: layer) keeps the pre-activations in range")
    if not tries or _is_critical(group):
        tries.append("fewer or wider layers bring it nearer to the wide limit (Hanin 2018)")
    return f"{_rate(group)}; {'; '.join(tries[:2])}."


def _exploding(group: Group) -> str:
    if group.along_time:
        return f"{_rate(group)}; clipping the gradient's norm bounds the updates; smaller recurrent weights tame it."
    if group.settings.get("family") == "transformer":
        return f"{_rate(group)}; {_pre_norm(group)}."
    norm, residual, custom = _architecture(group)
    tries = []
    if custom:
        tries.append("smaller initial weights, or normalisation between the layers, tame it")
    elif norm == "batch" and not residual:
        tries.append("batch norm itself does this in deep networks, which a residual connection prevents")
    elif not norm:
        tries += [] if residual else _critical(group)
        tries.append("layer norm (model.norm: layer) keeps the pre-activations in range")
    elif not residual:
        tries.append("a residual connection (model.residual: true) carries the gradient past the layers")
    if not tries:
        tries.append(f"fewer layers, or {_smaller_weights(group)}, tame it")
    return f"{_rate(group)}; {'; '.join(tries[:2])}."


def _longer_memory(group: Group) -> list[str]:
    """What lets a gradient come back through more time steps, beside shorter sequences."""
    if group.settings.get("family") != "rnn":
        # The cell of a module of the user's own isn't known: it may be gated already.
        return ["orthogonal recurrent weights shrink it less", "shorter sequences lose less"]
    gated = group.settings.get("activation") is None
    other = "orthogonal weights (model.init: orthogonal) shrink it less"
    first = other if gated else "gated cells (model.cell: lstm) carry it over more time steps"
    return [first, "shorter sequences (model.sequence_length) lose less"]


def _pre_norm(group: Group) -> str:
    """What keeps a transformer's gradient in size, if it does not have that."""
    if group.settings.get("norm") != "pre":
        return "normalisation before each sublayer (model.norm: pre) keeps its size"
    return "fewer blocks, or smaller initial weights, tame it"


def _smaller_weights(group: Group) -> str:
    """The same in the words of the group's own settings: only `init: normal` has a sigma_w."""
    return "a smaller initial sigma_w" if _name(group, "init") == "normal" else "smaller initial weights"


def _step(group: Group) -> str:
    return "a time step" if group.along_time else "a layer"


def _saturated(group: Group) -> str:
    norm, _, _ = _architecture(group)
    share = group.saturated_fraction.value
    figure = f"{100 * share:.0f} % of the derivatives" if share is not None else "most derivatives"
    init = str(group.settings.get("init"))
    tries = []
    if not norm and group.settings.get("family") not in _WITHOUT_LAYER_NORM:
        tries.append("layer norm (model.norm: layer) keeps the pre-activations in range")
    if init.startswith("normal("):
        tries.append("a smaller initial sigma_w does so at the start")
    tries.append("a smaller learning rate keeps the weights small")
    return f"{figure} of {_subject(group)} are below 1 % of the largest one; {'; '.join(tries[:2])}."


_SENTENCES: dict[str, Callable[[Group], str]] = {
    "failed": _failed,
    "diverged": _diverged,
    "dead": _dead,
    "vanishing": _vanishing,
    "exploding": _exploding,
    "dying": _dying,
    "saturated": _saturated,
}


def _critical(group: Group) -> list[str]:
    """The initialisation that keeps the gradient's size, if the group does not have it."""
    activation, init = _name(group, "activation"), _name(group, "init")
    size = "is predicted at 1.0x" if group.settings.get("family") == "mlp" else "comes near 1.0x"
    if activation == "linear":
        return [] if init == "orthogonal" else [f"orthogonal weights (model.init: orthogonal) {_verb(size)} at 1.0x"]
    if activation == "relu":
        if init in _HE:
            return []
        return [f"He initialisation (model.init: he_normal) {size}"]
    return [f"He-initialised relu at this depth {size}"]


def _verb(size: str) -> str:
    return "are predicted" if "predicted" in size else "stay"


def _is_critical(group: Group) -> bool:
    """Whether theory predicts that the gradient keeps its size, within 5 % a layer."""
    predicted = group.predicted_decay
    return predicted is not None and abs(predicted - 1) < 0.05


def _rate(group: Group) -> str:
    subject, measured = _subject(group), group.decay.log10
    if measured == -math.inf:
        return f"no gradient at all comes back through {subject} to the first {_step(group).removeprefix('a ')}"
    if measured is None:
        return f"the gradient through {subject} is {group.diagnosis}"
    word = "shrinks" if measured < 0 else "grows"
    text = f"{subject} {word} the gradient {_times(measured)} {_step(group)}"
    predicted = group.predicted_decay
    if predicted is None or not 0 < predicted < math.inf:
        return text
    if _is_critical(group):
        return f"{text} (mean-field: {predicted:.2f}x)"
    expected = math.log10(predicted)
    other = "" if (expected < 0) == (measured < 0) else "shrinks " if expected < 0 else "grows "
    return f"{text} (mean-field: {other}{_times(expected)})"


def _times(log10: float | None) -> str:
    """A factor above 1, of growth or of shrinking, with two digits, three below 1.1, as in 1.03x, 4.0x and 41x."""
    factor = 10.0 ** min(abs(log10 or 0.0), 300.0)
    if factor >= 100:
        return f"{factor:.0e}x".replace("e+0", "e").replace("e+", "e")
    return f"{factor:.2f}x" if factor < 1.1 else f"{factor:#.2g}".rstrip(".") + "x"


def _share_dead(group: Group) -> str:
    last, first = group.dead_fraction.value, group.dead_fraction_first.value
    if last is None:
        return "its units are dead"
    text = f"{100 * last:.0f} % of the hidden units are dead at the last record"
    return text if first is None else f"{text}, {100 * first:.0f} % before training"


def _revive(group: Group) -> str:
    last, first = group.dead_fraction.value or 0.0, group.dead_fraction_first.value or 0.0
    activation, lr = _name(group, "activation"), group.settings.get("lr")
    other = "" if activation in _LEAKY else "leaky_relu keeps a slope everywhere"
    if last > 0 and first / last > _MANY_DEAD_AT_START:
        start = "they were dead from the start, so look at the initial weights and biases"
        return f"{start}; {other}" if other else start
    slower = f"a smaller learning rate than {lr:g} kills fewer" if lr else "look at the initial weights and biases"
    return f"{other}; {slower}" if other else slower


def _architecture(group: Group) -> tuple[str, bool, bool]:
    """Normalisation ("" for none), whether there are residual connections, and whether the model is the user's own."""
    norm = group.settings.get("norm")
    return "" if norm in {None, "none"} else norm, bool(group.settings.get("residual")), _is_custom(group)


def _is_custom(group: Group) -> bool:
    return group.settings.get("family") == "custom"


def _subject(group: Group) -> str:
    return str(group.settings.get("activation") or "this network")


def _name(group: Group, factor: str) -> str:
    return str(group.settings.get(factor) or "").split("(")[0]
