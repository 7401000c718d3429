"""Who is told of records, and how often."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.sighting import SEEN_EVERY, Sighting, Throttle


def sighting(step, steps=1000, loss=1.0):
    ones = np.ones((2, 3))
    return Sighting(("a", "b"), step, steps, (3, 3), ones, ones[:, 0], np.array([1.0, loss]))


class Clock:
    def __init__(self):
        self.now = 17.0

    def __call__(self):
        return self.now


@settings(deadline=None)
@given(st.lists(st.floats(0, 2 * SEEN_EVERY), min_size=1, max_size=60))
def test_between_the_ends_no_two_in_less_than_the_pause_and_none_is_kept_back_for_longer(pauses):
    clock, told = Clock(), []
    throttle = Throttle(lambda one: told.append((clock.now, one.step)), clock)
    records = []
    for step, pause in enumerate(pauses, 1):
        clock.now += pause
        records.append((clock.now, step))
        throttle(sighting(step))
    times = [time for time, _ in told]
    assert all(later - earlier >= SEEN_EVERY for earlier, later in itertools.pairwise(times))
    assert told[0] == records[0]
    for time, step in set(records) - set(told):
        assert any(earlier <= time < earlier + SEEN_EVERY for earlier in times), step


@pytest.mark.parametrize("end", [sighting(0), sighting(999), sighting(5, loss=np.nan), sighting(5, loss=np.inf)])
def test_how_a_training_begins_and_ends_is_always_told(end):
    told = []
    throttle = Throttle(told.append, Clock())
    for one in (sighting(3), sighting(4), end, sighting(6), end):
        throttle(one)
    assert [one.step for one in told] == [3, end.step, end.step]
