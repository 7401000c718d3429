"""grid x zip, less exclude, plus include; and what a trial's identity depends on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.config.load import LoadedConfig
from gradlab.config.schema import DATA_OPTIONS, Experiment, Model, Sweep, Train
from gradlab.config.sweep import Expansion, config_digest, count_points, expand, expansion, points, run_name

Load = Callable[..., LoadedConfig]

D, W, A = "model.depth", "model.width", "model.activation"

POINTS: list[tuple[str, list[dict[str, Any]]]] = [
    ("", [{}]),
    ("grid: {model.depth: [1, 2]}", [{D: 1}, {D: 2}]),
    (
        "grid: {model.depth: [1, 2], model.width: [3, 4]}",
        [{D: 1, W: 3}, {D: 1, W: 4}, {D: 2, W: 3}, {D: 2, W: 4}],
    ),
    ("zip: [{model.depth: [1, 2], model.width: [3, 4]}]", [{D: 1, W: 3}, {D: 2, W: 4}]),
    (
        "grid: {model.activation: [relu, tanh]}, zip: [{model.depth: [1, 2], model.width: [3, 4]}]",
        [
            {A: "relu", D: 1, W: 3},
            {A: "relu", D: 2, W: 4},
            {A: "tanh", D: 1, W: 3},
            {A: "tanh", D: 2, W: 4},
        ],
    ),
    ("zip: [{model.depth: [1, 2]}, {model.width: [3, 4]}]", [{D: d, W: w} for d in (1, 2) for w in (3, 4)]),
    ("include: [{model.depth: 7}, {model.width: 5}]", [{D: 7, W: 64}, {D: 10, W: 5}]),
    ("grid: {model.depth: [1]}, include: [{model.depth: 7}]", [{D: 1}, {D: 7}]),
    ("grid: {model.depth: [1, 2]}, exclude: [{model.depth: 2}], include: [{model.depth: 2}]", [{D: 1}, {D: 2}]),
    ("grid: {model.depth: [1, 2, 3]}, exclude: [{model.depth: [1, 3]}]", [{D: 2}]),
    (
        "grid: {model.depth: [1, 2], model.width: [3, 4]}, exclude: [{model.depth: 1, model.width: [4, 5]}]",
        [{D: 1, W: 3}, {D: 2, W: 3}, {D: 2, W: 4}],
    ),
    (
        "grid: {model.activation: [{name: elu}, {name: elu, alpha: 2}, relu]}, exclude: [{model.activation: elu}]",
        [{A: "elu(alpha=2)"}, {A: "relu"}],
    ),
    (
        "grid: {model.activation: [elu, {name: elu, alpha: 2}]}, exclude: [{model.activation.alpha: 2}]",
        [{A: "elu"}],
    ),
    # A setting that is not swept is matched as it stands.
    ("grid: {model.depth: [1, 2]}, exclude: [{model.depth: 1, model.width: 64}]", [{D: 2}]),
    ("grid: {model.depth: [1, 2]}, exclude: [{model.depth: 1, model.width: 65}]", [{D: 1}, {D: 2}]),
    ("grid: {model.residual: [true, false]}, exclude: [{model.residual: true}]", [{"model.residual": False}]),
    # The order of the keys does not decide whether a choice or its parameter comes first.
    (
        "grid: {model.init.sigma_w: [2, 3], model.init: [normal]}",
        [
            {"model.init.sigma_w": 2, "model.init": "normal(sigma_w=2)"},
            {"model.init.sigma_w": 3, "model.init": "normal(sigma_w=3)"},
        ],
    ),
    # A setting that the data set does not read makes no other trial.
    (
        "grid: {data.name: [digits, moons], data.noise: [0.1, 0.2]}",
        [
            {"data.name": "digits", "data.noise": None},
            {"data.name": "moons", "data.noise": 0.1},
            {"data.name": "moons", "data.noise": 0.2},
        ],
    ),
]


@pytest.mark.parametrize(("sweep", "expected"), POINTS)
def test_points_in_order(load_text: Load, sweep: str, expected: list[dict[str, Any]]) -> None:
    loaded = load_text(f"seeds: 2\nsweep: {{{sweep}}}")
    assert [(dict(trial.point), trial.seed) for trial in loaded.trials] == [
        (point, seed) for point in expected for seed in (0, 1)
    ]


def test_keyword_arguments_keep_their_types_apart(load_text: Load) -> None:
    values = [1, True, None, "1", [1], {"a": None}, {}, float("inf"), 1.5]
    text = json.dumps(values).replace("Infinity", ".inf")
    loaded = load_text(
        f"seeds: 1\nmodel: {{family: custom, factory: 'a.py:f'}}\nsweep: {{grid: {{model.kwargs.x: {text}}}}}"
    )
    assert [trial.model.kwargs for trial in loaded.trials] == [{"x": value} for value in values]
    assert len({trial.trial_id for trial in loaded.trials}) == len(values)


_AXES = st.dictionaries(
    st.sampled_from([D, W, "train.lr", "train.steps"]), st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)
)
_PATTERNS = st.lists(
    st.dictionaries(st.sampled_from([D, W, "train.lr"]), st.lists(st.integers(1, 4), min_size=1), min_size=1),
    max_size=3,
)


@given(_AXES, _PATTERNS, st.sets(st.integers(0, 99), min_size=1, max_size=3))
def test_expansion_agrees_with_a_naive_one(
    grid: dict[str, list[Any]], exclude: list[dict[str, Any]], seeds: set[int]
) -> None:
    experiment = Experiment(
        seeds=sorted(seeds),
        sweep=Sweep(grid=grid, exclude=exclude, include=[{D: 4, "train.lr": 0.5}] if grid else []),
    )
    defaults = {D: 10, W: 64, "train.lr": 0.05, "train.steps": 500}
    expected = []
    for values in itertools.product(*grid.values()):
        settings = defaults | dict(zip(grid, values, strict=True))
        if not any(all(settings[path] in wanted for path, wanted in entry.items()) for entry in exclude):
            expected.append(settings)
    if grid:
        expected.append(defaults | {D: 4, "train.lr": 0.5})
    found = [
        ({D: t.model.depth, W: t.model.width, "train.lr": t.train.lr, "train.steps": t.train.steps}, t.seed)
        for t in expand(experiment)
    ]
    assert found == [(settings, seed) for settings in expected for seed in sorted(seeds)]


@given(
    st.dictionaries(st.text("ab", min_size=1), st.lists(st.integers(), min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(0, 2),
)
def test_the_count_is_that_of_the_points(grid: dict[str, list[Any]], rows: list[int], extra: int) -> None:
    zips = [{f"x{i}": list(range(n)), f"y{i}": list(range(n))} for i, n in enumerate(rows)]
    sweep = Sweep(grid=grid, zip=zips, include=[{"z": i} for i in range(extra)])
    assert count_points(sweep) == len(list(points(sweep)))


def test_points_that_do_not_go_together_raise() -> None:
    with pytest.raises(ValueError, match="sigma_w"):
        expand(Experiment(sweep=Sweep(grid={"model.init.sigma_w": [1]})))
    with pytest.raises(ValueError, match="batch_size"):
        expand(Experiment(model=Model(norm="batch"), train=Train(batch_size=1)))


SAME_TRIAL = [
    "name: other\nmodel: {depth: 3}",
    "sweep: {grid: {model.depth: [3]}}",
    "sweep: {include: [{model.depth: 3}]}",
    "sweep: {zip: [{model.depth: [3], train.lr: [0.05]}]}",
    "model: {depth: 3, activation: {name: relu}}\ntrain: {lr: 5.0e-2}",
    "model: {depth: 3}\ndata: {eval_fraction: 0.2, split_seed: 0}",
    "model: {depth: 3}\nseeds: [2, 0]",
    "model: {depth: 3}\ndata: {name: moons}\nsweep: {grid: {data.name: [digits]}}",
    "model: {depth: 3}\ntrain: {momentum: 0.3}",
    "model: {depth: 3}\ndiagnosis: {dying: 0.1}",
]


@pytest.mark.parametrize("text", SAME_TRIAL)
def test_a_trial_is_its_own_settings_and_seed(load_text: Load, text: str) -> None:
    wanted = load_text("model: {depth: 3}\nseeds: [0]").trials[0].trial_id
    assert wanted in {trial.trial_id for trial in load_text(text).trials if trial.seed == 0}


OTHER_TRIAL = [
    "model: {depth: 4}\nseeds: [0]",
    "model: {depth: 3}\nseeds: [1]",
    "model: {depth: 3, residual: true}\nseeds: [0]",
    "model: {depth: 3}\nrecord: {probe: 5}\nseeds: [0]",
    "model: {depth: 3}\ndata: {split_seed: 1}\nseeds: [0]",
    "model: {depth: 3}\ntrain: {lr: 0.050000001}\nseeds: [0]",
]


@pytest.mark.parametrize("text", OTHER_TRIAL)
def test_other_settings_make_another_trial(load_text: Load, text: str) -> None:
    unwanted = load_text("model: {depth: 3}\nseeds: [0]").trials[0].trial_id
    assert [trial.trial_id for trial in load_text(text).trials] != [unwanted]


def test_the_digest_is_that_of_the_content(load_text: Load) -> None:
    one = load_text("name: a\nseeds: 3").experiment
    assert config_digest(one) == config_digest(load_text("name: b\nseeds: 3\nmodel: {depth: 10}").experiment)
    assert config_digest(one) != config_digest(load_text("name: a\nseeds: 4").experiment)
    assert run_name(one) == f"a-{config_digest(one)[:8]}"


def test_swept_data_sets_have_their_own_defaults_and_share_what_is_given(load_text: Load) -> None:
    noises = [trial.data.noise for trial in load_text("seeds: 1\nsweep: {grid: {data.name: [spirals, moons]}}").trials]
    assert noises == [DATA_OPTIONS["spirals"]["noise"], DATA_OPTIONS["moons"]["noise"]]
    for base in ("moons", "spirals"):
        text = f"seeds: 1\ndata: {{name: {base}}}\nsweep: {{grid: {{data.name: [spirals, moons]}}}}"
        assert [trial.data.noise for trial in load_text(text).trials] == noises
    given = "seeds: 1\ndata: {noise: 0.3}\nsweep: {grid: {data.name: [spirals, moons]}}"
    assert [trial.data.noise for trial in load_text(given).trials] == [0.3, 0.3]


def test_factor_columns_of_a_custom_model_are_null(load_text: Load) -> None:
    text = "model: {family: custom, factory: 'a.py:f'}\nsweep: {grid: {model.kwargs.x: [{b: 1}]}}"
    factors = load_text(text).trials[0].factors()
    assert factors["depth"] is None
    assert factors["activation"] is None
    assert factors["family"] == "custom"
    assert factors["model.kwargs.x"] == '{"b": 1}'


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["model.depth", "train.lr", "model.activation", "model.residual"]),
            st.sampled_from([1, 2, [1, 2], 0.5, 1.0, "relu", ["relu", "tanh"], {"name": "elu"}, True, [True]]),
            min_size=1,
        ),
        max_size=6,
    )
)
@settings(deadline=None, max_examples=60)
def test_exclude_entries_take_out_what_each_matches_by_itself(entries: list[dict[str, Any]]) -> None:
    fits = {
        "model.depth": lambda value: isinstance(value, int) and not isinstance(value, bool),
        "train.lr": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "model.activation": lambda value: isinstance(value, str | dict),
        "model.residual": lambda value: isinstance(value, bool),
    }
    entries = [
        fitting
        for entry in entries
        if (fitting := {path: value for path, value in entry.items() if all(map(fits[path], as_list(value)))})
    ]
    grid = {
        "model.depth": [1, 2, 3],
        "train.lr": [0.5, 1.0],
        "model.activation": ["relu", "tanh", "elu"],
        "model.residual": [True, False],
    }

    def kept(exclude: list[dict[str, Any]]) -> set[str]:
        return {trial.trial_id for trial in spread(exclude).trials}

    def spread(exclude: list[dict[str, Any]]) -> Expansion:
        return expansion(Experiment.model_validate({"seeds": 1, "sweep": {"grid": grid, "exclude": exclude}}))

    together = spread(entries)
    assert kept(entries) == set.intersection(kept([]), *(kept([entry]) for entry in entries))
    assert together.unmatched == tuple(i for i, entry in enumerate(entries) if kept([entry]) == kept([]))
