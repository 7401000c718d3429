"""Overrides: read like the file, named by their own text, stronger than the sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gradlab.config.load import LoadedConfig

Load = Callable[..., LoadedConfig]
Problems = Callable[..., list[tuple[str, str]]]

CUSTOM = "model: {family: custom, factory: 'a.py:f'}\n"

SAME = [
    ("seeds: 1", ["model.depth=20"], "seeds: 1\nmodel: {depth: 20}"),
    ("model: {depth: 3}", ["model.depth=20", "model.depth=30"], "model: {depth: 30}"),
    ("seeds: 4", ["seeds=[1,2]"], "seeds: [1, 2]"),
    ("seeds: 4", ["name=other"], "name: other\nseeds: 4"),
    ("seeds: 4", ["train.lr=1e-3"], "seeds: 4\ntrain: {lr: 0.001}"),
    ("seeds: 4", ["model.init={name: normal, sigma_w: 2}"], "seeds: 4\nmodel: {init: {name: normal, sigma_w: 2}}"),
    ("model: {init: normal}", ["model.init.sigma_w=2"], "model: {init: {name: normal, sigma_w: 2}}"),
    ("model: {depth: 3, width: 8}", ["model={depth: 4}"], "model: {depth: 4}"),
    ("seeds: 4", ["diagnosis.dying=0.9"], "seeds: 4\ndiagnosis: {dying: 0.9}"),
    ("data: {name: moons, noise: 0.3}", ["data.noise="], "data: {name: moons}"),
    (CUSTOM, ["model.kwargs.heads=2", "model.kwargs.a.b=~"], CUSTOM.replace("}", ", kwargs: {heads: 2, a: {b: ~}}}")),
    ("seeds: 4", ["sweep.grid.model.depth=[2,4]"], "seeds: 4\nsweep: {grid: {model.depth: [2, 4]}}"),
    ("sweep: {grid: {model.depth: [1]}}", ["sweep.grid.model.depth=[2,4]"], "sweep: {grid: {model.depth: [2, 4]}}"),
    ("sweep: {grid: {model.depth: [1]}}", ["sweep.grid={train.lr: [1]}"], "sweep: {grid: {train.lr: [1]}}"),
    ("seeds: 4", ["sweep.include=[{model.depth: 2}]"], "seeds: 4\nsweep: {include: [{model.depth: 2}]}"),
    ("model: {depth: 0}", ["model.depth=2"], "model: {depth: 2}"),
    ("seeds: 4", [" model.depth = 3 "], "seeds: 4\nmodel: {depth: 3}"),
]


@pytest.mark.parametrize(("text", "overrides", "same"), SAME)
def test_an_override_is_as_if_the_file_said_so(load_text: Load, text: str, overrides: list[str], same: str) -> None:
    loaded = load_text(text, *overrides)
    assert not loaded.notes
    expected = load_text(same)
    assert loaded.experiment == expected.experiment
    assert loaded.trials == expected.trials


SWEPT: list[tuple[str, str, list[dict[str, Any]], list[str]]] = [
    (
        "grid: {model.depth: [1, 2], train.lr: [1, 2]}",
        "model.depth=7",
        [{"train.lr": 1}, {"train.lr": 2}],
        ["model.depth"],
    ),
    (
        "zip: [{model.depth: [1, 2], train.lr: [1, 2]}, {model.width: [5]}]",
        "model.width=7",
        [{"model.depth": 1, "train.lr": 1}, {"model.depth": 2, "train.lr": 2}],
        ["model.width"],
    ),
    ("include: [{model.depth: 1}, {model.depth: 2, train.lr: 2}]", "model.depth=7", [{"train.lr": 2}], ["model.depth"]),
    ("zip: [{model.depth: [1, 2]}]", "model.depth=7", [{}], ["model.depth"]),
    (
        "grid: {model.activation: [elu], model.activation.alpha: [1, 2]}",
        "model.activation=tanh",
        [{}],
        ["model.activation", "model.activation.alpha"],
    ),
]


@pytest.mark.parametrize(("sweep", "override", "points", "taken"), SWEPT)
def test_an_override_of_a_swept_field_wins(
    load_text: Load, sweep: str, override: str, points: list[dict[str, Any]], taken: list[str]
) -> None:
    loaded = load_text(f"seeds: 1\nsweep: {{{sweep}}}", override)
    assert [dict(trial.point) for trial in loaded.trials] == points
    assert sorted(loaded.notes) == sorted(f"--set {override}: {path} is no longer swept" for path in taken)
    path, _, value = override.partition("=")
    settings = {str(getattr(trial.model, path.split(".")[1])) for trial in loaded.trials}
    assert len(settings) == 1
    assert value in settings.pop()


BAD = [
    ("model.depth=0", "model.depth must be at least 1 (it is 0)"),
    ("model.depth", "PATH=VALUE"),
    ("=3", "PATH=VALUE"),
    ("", "PATH=VALUE"),
    ("model.dept=3", "unknown key 'model.dept'; did you mean 'model.depth'?"),
    ("depth=3", "unknown key 'depth'; did you mean 'model.depth'?"),
    ("model.depth.x=3", "unknown key 'model.depth.x'"),
    ("model..depth=3", "unknown key"),
    ("sweep.gird={}", "did you mean 'sweep.grid'?"),
    ("sweep.zip.0.model.depth=[1]", "unknown key"),
    ("sweep.grid.model.dept=[1]", "did you mean 'model.depth'?"),
    ("sweep.grid.model.depth=[1, 0]", "model.depth must be at least 1"),
    ("sweep.grid.model.depth=3", "must be a list"),
    ("model.depth=[", "not valid YAML"),
    ("model.depth=!!python/none", "tag"),
    ("model={depth: 1, depth: 2}", "duplicate key"),
    ("model.activation.slope=1", "unknown key 'model.activation.slope'"),
    ("model.init.sigma_w=1", "pytorch_default has no parameter 'sigma_w'"),
    ("seeds=0", "seeds must be at least 1"),
    ("name=../x", "must be 1 to 100 letters"),
    ("data.noise=1", "data.noise has no effect"),
    ("train=3", "train must be a mapping"),
]


@pytest.mark.parametrize(("override", "message"), BAD)
def test_a_problem_of_an_override_names_the_override(problems: Problems, override: str, message: str) -> None:
    ((place, found),) = problems("seeds: 1", override)
    assert place == f"--set {override}"
    assert message in found


def test_a_parameter_of_a_swept_choice_cannot_be_overridden(problems: Problems) -> None:
    ((place, message),) = problems("sweep: {grid: {model.activation: [elu]}}", "model.activation.alpha=2")
    assert place == "--set model.activation.alpha=2"
    assert "override 'model.activation' instead" in message


def test_removed_entries_leave_the_places_of_others_right(problems: Problems) -> None:
    zipped = "  zip:\n    - {model.width: [1]}\n    - {model.depth: [0]}\n"
    text = f"sweep:\n{zipped}  include:\n    - {{model.width: 2}}\n    - {{train.lr: x}}"
    assert [place for place, _ in problems(text, "model.width=3")] == ["4:22", "7:18"]


def test_the_file_itself_is_still_checked(problems: Problems) -> None:
    assert [place for place, _ in problems("model: 3", "model.depth=2")] == ["1:8"]
