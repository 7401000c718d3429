"""What a person would say of typical changes: where along the network they begin, since when, where to look."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from gradlab.analysis.gate.judge import judge
from gradlab.analysis.gate.story import sentences, times
from gradlab.store.measurement import LAST, MIDDLE, Measurement
from tests.analysis.gate.measurements import (
    SEEDS,
    STEPS,
    THRESHOLDS,
    edited,
    measurement,
    network,
    only,
    replaced,
    scaled,
)

GRADIENTS = ["delta_rms", "weight_grad_norm"]
LATER = [MIDDLE, LAST, "end"]
SIX = measurement(network(layers=6))


def story(now: Measurement, baseline: Measurement = SIX) -> str:
    """The sentences about the one network."""
    (told,) = sentences(judge(baseline, now, THRESHOLDS).changes).values()
    return "\n".join(told).replace(" %", "%")


def test_nothing_is_said_of_what_passes_or_may_be_chance() -> None:
    assert sentences(judge(SIX, SIX, THRESHOLDS).changes) == {}
    assert sentences(judge(SIX, edited(SIX, only(1, 3.0), GRADIENTS), THRESHOLDS).changes) == {}


def test_a_gradient_that_is_lost_on_its_way_back() -> None:
    told = story(edited(SIX, scaled(1 / 40), GRADIENTS, [1, 2, 3]))
    assert "from layer 3 down the gradient is 40x smaller" in told
    assert "at step 0" in told
    assert "initialisation" in told
    assert "weights" not in told


def test_how_far_it_goes_is_said_where_it_goes_on() -> None:
    """Every layer on the way loses a factor of 2."""
    now = SIX
    for layer in (1, 2, 3):
        now = edited(now, scaled(2.0 ** (layer - 4)), GRADIENTS, [layer])
    assert "from layer 3 down the gradient is 8x smaller" in story(now)


def test_weights_that_start_larger() -> None:
    now = edited(SIX, scaled(2), ["weight_norm"], [3])
    told = story(edited(now, scaled(2), GRADIENTS, [1, 2]))
    assert "layer 3's weights start 2x larger" in told
    assert "from layer 2 down the gradient is 2x larger" in told
    assert told.index("weights") < told.index("gradient"), "the cause comes before its effect"


def test_a_signal_that_fades_on_its_way_up() -> None:
    assert "from layer 4 up activations are 10x smaller" in story(
        edited(SIX, scaled(0.1), ["activation_rms"], [4, 5, 6])
    )


def test_changes_everywhere_and_here_and_there() -> None:
    everywhere = edited(SIX, scaled(3), GRADIENTS, range(1, 7))
    assert "in every layer the gradient is 3x larger" in story(everywhere)
    some = edited(SIX, scaled(3), GRADIENTS, [2, 3, 5])
    assert "in layers 2-3, 5 the gradient is 3x larger" in story(some)
    one = edited(SIX, scaled(3), GRADIENTS, [4])
    assert "in layer 4 the gradient is 3x larger" in story(one)


def test_weight_gradients_alone() -> None:
    told = story(edited(SIX, scaled(1 / 3), ["weight_grad_norm"], [1, 2]))
    assert "from layer 2 down the weight gradient is 3x smaller" in told


def test_a_gradient_that_is_cut_off() -> None:
    told = story(edited(SIX, only(SEEDS, -math.inf), GRADIENTS, [1, 2]))
    assert "from layer 2 down the gradient is exactly 0 now" in told
    back = story(SIX, edited(SIX, only(SEEDS, -math.inf), GRADIENTS, [1, 2]))
    assert "from layer 2 down the gradient is no longer 0" in back


@pytest.mark.parametrize(("step", "since"), [(MIDDLE, STEPS[MIDDLE]), (LAST, STEPS[LAST])])
def test_changes_that_come_later_point_at_training(step: str, since: int) -> None:
    told = story(edited(SIX, scaled(0.5), [*GRADIENTS, "final_train_loss"], range(7), LATER[LATER.index(step) :]))
    assert f"step {since}" in told
    assert "nothing changed at step 0" in told
    assert "optimizer" in told
    assert "initialisation" not in told
    assert "the final train loss is 2x smaller" in told


def test_updates_that_change_under_the_same_gradients_point_at_the_optimizer() -> None:
    told = story(edited(SIX, scaled(10), ["update_ratio"], range(1, 7)))
    assert "updates are 10x larger" in told
    assert "optimizer" in told
    assert "initialisation" not in told


def test_only_the_final_loss() -> None:
    told = story(edited(SIX, scaled(4), ["final_eval_loss"], [0]))
    assert "the final eval loss is 4x larger" in told
    assert "nothing changed at step 0" in told


def test_shares_are_told_before_and_after() -> None:
    told = story(edited(SIX, lambda shares: shares + 0.4, ["dead_units"], [2, 3]))
    assert "in layers 2-3 dead units went from 20% to 60%" in told


@pytest.mark.parametrize(
    ("statistic", "edit", "words"),
    [
        ("delta_rms", only(SEEDS, math.nan), "no numbers in layer 2 from step 0 on"),
        ("final_train_loss", only(SEEDS, math.inf), "no numbers in the"),
    ],
)
def test_what_is_no_number_any_more(statistic: str, edit: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    assert words in story(edited(SIX, edit, [statistic], [0, 2]))


def test_seeds_that_diverge() -> None:
    told = story(replaced(SIX, diverged=(3,) * 9 + (None,)))
    assert "90% of the seeds diverge, 0% did" in told


def test_what_is_missing() -> None:
    fewer = measurement(network(layers=5))
    assert "layer 'layer_6' of the baseline" in story(fewer)
    assert "layers 'layer_5', 'layer_6' of the baseline" in story(measurement(network(layers=4)))
    assert "missing" in story(replaced(SIX, settings={"model.depth": 3}))


def test_every_network_has_its_own_story() -> None:
    both = measurement(network(settings={"model.depth": 3}), network(settings={"model.depth": 4}))
    told = sentences(judge(both, edited(both, scaled(7), GRADIENTS), THRESHOLDS).changes)
    assert sorted(told) == ["depth=3", "depth=4"]
    assert all("7x larger" in "\n".join(own) for own in told.values())


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(40, "40x larger"), (1 / 40, "40x smaller"), (2, "2x larger"), (1 / 1.31, "1.3x smaller"), (1e-8, "1e8x smaller")],
)
def test_ratios_in_words(ratio: float, words: str) -> None:
    assert times(math.log10(ratio)) == words


def test_ratios_beyond_floats_in_words() -> None:
    assert times(-5000) == "1e5000x smaller"
    assert times(-math.inf) == "exactly 0 now"
    assert times(math.inf) == "no longer 0"
