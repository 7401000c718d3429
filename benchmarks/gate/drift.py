"""What another release of a library does to the project: its networks with noise on every product."""

from __future__ import annotations

from benchmarks.gate.variants import HERE, NETWORKS, Edit, Variant

UPGRADE = 1e-5
"""Relative noise of an upgrade: it moves the 5th digit."""

SIZES = (1e-6, UPGRADE, 1e-4, 1e-3, 1e-2, 1e-1)

_IMPORT = "from torch import nn"


def drift(size: float) -> list[Variant]:
    """Every network of the project, with noise of this relative size."""
    noise = (HERE / "noise.py").read_text().replace("SIZE = 0.0", f"SIZE = {size}")
    edit = Edit("models.py", _IMPORT, f"{_IMPORT}\n\n{noise}")
    return [Variant(f"{size:.0e}", network, (edit,)) for network in NETWORKS]
