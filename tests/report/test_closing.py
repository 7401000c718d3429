"""What a run says at its end and on its way: the steps that were recorded, and when it will be done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.config.schema import Experiment
from gradlab.config.sweep import expand
from gradlab.report.closing import recorded_steps
from gradlab.report.progress import KNOWN_SECONDS, KNOWN_SHARE, time_left


def trials(steps, every):
    grid = {"train.steps": sorted(steps), "record.every": sorted(every)}
    return expand(Experiment.model_validate({"seeds": 1, "sweep": {"grid": grid}}))


@given(st.integers(1, 40), st.integers(1, 50))
def test_what_is_said_is_what_is_recorded(steps, every):
    recorded = {*range(0, steps, every), steps - 1}
    said = recorded_steps(trials({steps}, {every}))
    if len(recorded) == 1:
        assert said == "the only step"
    elif len(recorded) == 2:
        assert said == f"the first and the last of {steps} steps"
    else:
        assert said == f"every {every} of {steps} steps and the last"


def test_trials_that_are_recorded_otherwise():
    assert recorded_steps(trials({60, 300}, {100})) == (
        "every 100 of 300 steps and the last; the first and the last of 60 steps"
    )
    assert recorded_steps(trials({300, 500}, {1, 2, 50})) == "every 1 to 50 of 300 or 500 steps and the last"


@pytest.mark.parametrize(
    ("share", "elapsed", "said"),
    [
        (0.5, 35.0, "about 35 s left"),
        (0.25, 10.0, "about 30 s left"),
        (0.1, 60.0, "about 9 min left"),
        (KNOWN_SHARE, KNOWN_SECONDS, "about 57 s left"),
        (0.0053, 10.0, ""),
        (0.9, 0.5, ""),
        (0.0, 100.0, ""),
        (1.0, 100.0, ""),
    ],
)
def test_the_rest_of_the_time_is_told_once_it_can_be_known(share, elapsed, said):
    assert time_left(share, elapsed) == said
