"""Minibatches as the contract draws them, and which steps are recorded."""

from __future__ import annotations

from itertools import islice

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.engine.batches import count_recorded, is_recorded, minibatches
from tests.oracles import plain

seeds = st.integers(0, 2**63 - 1)


@settings(deadline=None)
@given(st.lists(seeds, min_size=1, max_size=4), st.integers(1, 30), st.integers(1, 12), st.integers(1, 12))
def test_every_trial_sees_the_plain_loops_minibatches(own: list[int], examples: int, batch: int, count: int) -> None:
    found = list(islice(minibatches(own, examples, batch), count))
    for index, seed in enumerate(own):
        expected = list(islice(plain.minibatches(examples, batch, seed), count))
        assert [step[index].tolist() for step in found] == [indices.tolist() for indices in expected]


@given(st.integers(1, 30), st.integers(1, 12), seeds)
def test_an_epoch_holds_no_example_twice_and_drops_less_than_a_batch(examples: int, batch: int, seed: int) -> None:
    size = min(batch, examples)
    per_epoch = examples // size
    stream = minibatches([seed], examples, batch)
    for _ in range(3):
        epoch = torch.cat([step[0] for step in islice(stream, per_epoch)]).tolist()
        assert len(epoch) == len(set(epoch)) == per_epoch * size > examples - size
        assert set(epoch) <= set(range(examples))


def test_epochs_differ() -> None:
    first, second = islice(minibatches([0], 20, 20), 2)
    assert first.tolist() != second.tolist()


def test_the_callers_random_stream_is_left_alone() -> None:
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    list(islice(minibatches([0, 1], 10, 3), 7))
    assert torch.equal(torch.rand(3), expected)


@given(st.integers(1, 300), st.integers(1, 400))
def test_step_0_every_nth_and_the_last_are_recorded(steps: int, every: int) -> None:
    recorded = [step for step in range(steps) if is_recorded(step, steps, every)]
    assert recorded == sorted({*range(0, steps, every), steps - 1})
    assert count_recorded(steps, every) == len(recorded)
