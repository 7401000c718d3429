"""Parts that one worker trains together."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from gradlab.config.schema import Experiment
from gradlab.config.sweep import Trial, expand
from gradlab.engine.bundles import BUNDLES, LONGEST, MOST_PARTS, Bundle, bundled
from gradlab.engine.stacks import STACK_ELEMENTS, Part, plan


def parts_of(sweep: dict[str, list[Any]], seeds: int, **sections: Any) -> list[Part]:
    trials = expand(Experiment.model_validate({**sections, "seeds": seeds, "sweep": {"grid": sweep}}))
    return plan(trials, positions)


def positions(trial: Trial) -> int:
    return 1


def bundles_of(parts: list[Part], workers: int, room: int = 10**9) -> list[Bundle]:
    return bundled(parts, workers, positions, lambda part: len(part.trials) <= room)


def stacks(bundles: list[Bundle]) -> list[int]:
    return [len(stack.trials) for bundle in bundles for stack in bundle.whole.stacks]


MIXED = {"model.depth": [2, 3, 9], "model.width": [8, 16], "model.activation": ["relu", "tanh"], "train.lr": [0.1, 0.2]}


@pytest.mark.parametrize("workers", [1, 2, 3, 16, 100])
@pytest.mark.parametrize("seeds", [1, 7, 40])
def test_every_part_is_in_one_bundle_with_all_its_trials(seeds: int, workers: int) -> None:
    parts = parts_of(MIXED, seeds)
    bundles = bundles_of(parts, workers)
    assert sorted((part for bundle in bundles for part in bundle.parts), key=id) == sorted(parts, key=id)
    assert all(one.whole.cost >= other.whole.cost for one, other in pairwise(bundles))
    most = sum(part.cost for part in parts) / (BUNDLES * workers)
    for bundle in bundles:
        own = [trial for part in bundle.parts for trial in part.trials]
        assert sorted(bundle.whole.trials, key=id) == sorted(own, key=id)
        assert bundle.whole.cost == pytest.approx(sum(part.cost for part in bundle.parts))
        assert len(bundle.parts) == 1 or bundle.whole.cost <= most * 1.001
        for stack in bundle.whole.stacks:
            assert all(one.model.depth >= other.model.depth for one, other in pairwise(stack.trials))


def test_few_workers_get_stacks_as_large_as_is_quickest_and_many_get_all_parts() -> None:
    parts = parts_of({}, 512, model={"width": 16}, train={"batch_size": 64})
    full = STACK_ELEMENTS // (16 * 64)
    assert stacks(bundles_of(parts, 1)) == stacks(bundles_of(parts, 2)) == [full] * 4
    assert stacks(bundles_of(parts, 4)) == [full // 2] * 8
    assert [bundle.whole for bundle in bundles_of(parts, 16)] == parts


def test_bundles_fit_into_memory() -> None:
    parts = parts_of({}, 512, model={"width": 16})
    assert stacks(bundles_of(parts, 1, room=70)) == [64] * 8
    assert [bundle.whole for bundle in bundles_of(parts, 1, room=1)] == parts


def test_records_of_a_bundle_fit_into_memory() -> None:
    parts = parts_of({}, 512, model={"width": 16}, train={"steps": 600}, record={"every": 1})
    assert len(bundles_of(parts, 1)) > 4


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"activation": "mine.py:phi"}},
        {"data": {"name": "custom", "factory": "mine.py:data"}},
        {"model": {"family": "custom", "factory": "mine.py:net"}},
        {"model": {"family": "rnn", "depth": 1}, "data": {"name": "adding"}},
    ],
)
def test_what_may_end_its_worker_or_gains_nothing_stays_apart(sections: dict[str, Any]) -> None:
    parts = parts_of({}, 64, **sections)
    assert [bundle.whole for bundle in bundles_of(parts, 1)] == parts


def test_no_more_than_ten_minutes_are_in_hand() -> None:
    long = {"steps": 200_000, "batch_size": 64}
    bundles = bundles_of(parts_of({}, 512, model={"width": 16}, train=long, record={"every": 10_000}), 1)
    assert len(bundles) > 4
    assert all(len(bundle.parts) == 1 or bundle.whole.cost <= LONGEST for bundle in bundles)


def test_large_sweeps_are_left_as_they_are() -> None:
    parts = parts_of({}, MOST_PARTS + 1) * MOST_PARTS
    assert [bundle.whole for bundle in bundles_of(parts, 1)] == parts
