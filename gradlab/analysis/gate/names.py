"""Names of networks and layers in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def network_name(settings: Mapping[str, Any]) -> str:
    """A network by its swept settings: `depth=8 activation=tanh`; `the network` where the config sweeps nothing."""
    return " ".join(f"{path.split('.')[-1]}={value}" for path, value in settings.items()) or "the network"


def layer_list(layers: Sequence[int]) -> str:
    """Layer numbers as `3`, `3-8` or `1, 3-5`."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def numbered(layers: Sequence[int]) -> str:
    """Layers by their numbers in a sentence: `layer 3`, `layers 3-8`."""
    return f"layer{'s' if len(layers) > 1 else ''} {layer_list(layers)}"
