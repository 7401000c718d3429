"""Loading a config from text, in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gradlab.config.load import LoadedConfig, load
from gradlab.errors import ConfigError

Load = Callable[..., LoadedConfig]
Problems = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as the file `c.yaml`, with overrides."""
    monkeypatch.chdir(tmp_path)

    def loaded(text: str, *overrides: str) -> LoadedConfig:
        Path("c.yaml").write_text(text, encoding="utf-8")
        return load(Path("c.yaml"), overrides)

    return loaded


@pytest.fixture
def problems(load_text: Load) -> Problems:
    """The problems of a text as (place without the file's name, message)."""

    def found(text: str, *overrides: str) -> list[tuple[str, str]]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, *overrides)
        return [(problem.place.removeprefix("c.yaml:"), problem.message) for problem in caught.value.problems]

    return found
