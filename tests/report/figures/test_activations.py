"""The figure of activations, in each format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradlab.errors import MachineError, UsageError
from gradlab.report.figures.activations import draw_activations

Z = np.linspace(-4, 4, 81)
SIGMOID = 1 / (1 + np.exp(-Z))
CURVES = {
    "sigmoid": (SIGMOID, SIGMOID * (1 - SIGMOID)),
    "relu": (np.maximum(Z, 0), (Z > 0).astype(float)),
    "leaky_relu": (np.where(Z > 0, Z, 0.01 * Z), np.where(Z > 0, 1.0, 0.01)),
}


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")])
def test_the_ending_says_the_format(tmp_path: Path, name: str, magic: bytes) -> None:
    draw_activations(tmp_path / name, Z, CURVES)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(magic)
    if name == "a.SVG":  # the only one whose text can be read
        assert b"at most 0.25" in content
        assert b"0.01 below 0, 1 above" in content


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt"])
def test_another_ending_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        draw_activations(tmp_path / name, Z, CURVES)
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="nowhere"):
        draw_activations(tmp_path / "nowhere" / "a.png", Z, CURVES)
