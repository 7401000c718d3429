"""Where in the config a setting got a value that turned out unusable."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradlab.config.load import load

TEXT = """
data: {name: npz, path: base.npz, task: binary}
train:
  lr: 0.1
sweep:
  grid:
    data.path: [one.npz, two.npz]
  zip:
    - model.width: [3, 4]
      train.lr: [0.2, 0.3]
  include:
    - data.path: extra.npz
"""


@pytest.mark.parametrize(
    ("setting", "value", "place"),
    [
        ("data.path", "two.npz", "7:26"),
        ("data.path", "base.npz", "2:25"),
        ("data.path", "extra.npz", "12:18"),
        ("train.lr", 0.3, "10:23"),
        ("train.lr", None, "4:7"),
        ("model.width", None, "9:20"),
        ("model.factory", None, "2:1"),
    ],
)
def test_the_value_itself_or_the_nearest_place(tmp_path: Path, setting: str, value: object, place: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    assert load(path).place_of(setting, value) == f"{path}:{place}"
