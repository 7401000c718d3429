"""A baseline that several tests compare with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guard.networks import Residual, checked


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines may be written, and only where a test asks for it."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("GRADLAB_UPDATE", raising=False)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baseline of `Residual`."""
    path = tmp_path_factory.mktemp("guard") / "baselines" / "residual.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CI", raising=False)
        assert checked(Residual, path, update=True).verdict == "pass"
    return path
