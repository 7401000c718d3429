"""Which factors a network reads: what it doesn't read is null, and tells networks apart only beside what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradlab.config.model import MODEL_READS
from gradlab.config.sweep import TRIAL_COLUMNS

_FIELDS = {column: path for path, column in TRIAL_COLUMNS.items()}


def is_unread(settings: Mapping[str, Any], factor: str) -> bool:
    """Whether a factor is null because networks of this family, or gated cells, don't read it.

    Args:
        settings: of the network, its family among them; where that isn't known, nothing is.
    """
    section, _, field = _FIELDS.get(factor, factor).partition(".")
    read = MODEL_READS.get(str(settings.get("family")))
    if section != "model" or field == "family" or read is None or settings.get(factor) is not None:
        return False
    # Of the families that read an activation only the rnn may have none, with gated cells.
    gated = settings.get("family") == "rnn" and field == "activation"
    return gated or field.split(".")[0] not in read


def telling(factors: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Those of `factors` that are needed to tell networks apart or say more than that some don't read them.

    Left out is what has one value in all networks that read it, where the others tell as many networks apart:
    `activation`, say, which is tanh in plain cells and nothing in gated ones, beside `model.cell`.

    Args:
        settings: of every network.
    """
    kept = list(factors)
    for name in factors:
        idle = [row for row in settings if row.get(name) is None]
        known = {row[name] for row in settings if row.get(name) is not None}
        if not idle or len(known) > 1 or not all(is_unread(row, name) for row in idle):
            continue
        rest = [other for other in kept if other != name]
        if rest and _distinct(rest, settings) == _distinct(kept, settings):
            kept = rest
    return tuple(kept)


def _distinct(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> int:
    return len({tuple(row.get(name) for name in names) for row in settings})
