"""Trials and configs keep their identities: runs and baselines that users have are found again by later versions.

The digits were written down when gradlab had no families but mlp, cnn and custom.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gradlab.config.load import LoadedConfig, load
from gradlab.config.sweep import config_digest

Load = Callable[..., LoadedConfig]

ROOT = Path(__file__).parents[2]

COMMITTED = {
    "runs/example-b5f9bc42/config.yaml": ("b5f9bc422969f39a", "380c7e4ebde1196a"),
    "examples/guarded-model/gradlab.yaml": ("aaa3cfdcf1f9328f", "7928d5c40ff0c9ce"),
    "configs/cnn.yaml": ("017012e2a2435541", "673de5ec7d5b60ce"),
    "configs/tasks.yaml": ("a137ae52b0121684", "ef974b8a084cf8ff"),
}
"""File -> the beginning of its config digest, and of the digest of its trials' ids."""


@pytest.mark.parametrize("name", list(COMMITTED))
def test_committed_configs(name: str) -> None:
    loaded = load(ROOT / name)
    ids = hashlib.sha256("".join(trial.trial_id for trial in loaded.trials).encode()).hexdigest()
    assert (config_digest(loaded.experiment)[:16], ids[:16]) == COMMITTED[name]


TEXTS = {
    "seeds: 1": ("8018a959a527aed0", ["d53e8add520f61d9"]),
    "model: {family: custom, factory: 'a.py:f', kwargs: {a: 1}}\nseeds: [3]": (
        "8a2bb8b7ca73022a",
        ["c2c5504e4610c0be"],
    ),
    "model: {family: cnn, norm: batch, residual: true, activation: {name: leaky_relu, negative_slope: 0.2}}\n"
    "seeds: [3]": ("018efe60c42857b8", ["94782eb7d4b327d1"]),
    "data: {name: moons}\nmodel: {init: {name: normal, sigma_w: 1.5}}\ntrain: {optimizer: momentum}\nseeds: [0]": (
        "c14e7186e0d7ab29",
        ["0bddd3f22d67f32e"],
    ),
    "model: {depth: 3, factory: 'a.py:f'}\nseeds: 1\nsweep: {grid: {model.family: [mlp, custom]}}": (
        "bcb2bbb8144a51f9",
        ["b7edba91847cc059", "abe8b3d709037031"],
    ),
    "data: {name: npz, path: x.npz, task: binary}\nseeds: 1\nsweep: {grid: {data.name: [digits, npz]}}": (
        "6adb9cc61d2ff0c7",
        ["d53e8add520f61d9", "db51d9df4e80a363"],
    ),
}
"""Config -> the beginning of its digest, and its trials' ids."""


@pytest.mark.parametrize("text", list(TEXTS))
def test_written_configs(load_text: Load, text: str) -> None:
    loaded = load_text(text)
    assert (config_digest(loaded.experiment)[:16], [trial.trial_id for trial in loaded.trials]) == TEXTS[text]
