"""The first diagnosis that holds, in the contract's order."""

import itertools
import math

import pytest

from gradlab.analysis.diagnosis import DIAGNOSES, diagnose
from gradlab.config.schema import Diagnosis

HEALTHY = {
    "status": "completed",
    "gradient_ratio": 0.5,
    "dead_layer": False,
    "dead_fraction": 0.1,
    "saturated_fraction": 0.1,
    "reaches_zero_derivative": False,
}
SICK = {
    "failed": {"status": "failed"},
    "diverged": {"status": "diverged"},
    "dead": {"dead_layer": True},
    "vanishing": {"gradient_ratio": 1e-4},
    "exploding": {"gradient_ratio": 1e4},
    "dying": {"dead_fraction": 0.6},
    "saturated": {"saturated_fraction": 0.6},
}


def word(thresholds=None, **changes):
    return diagnose(**(HEALTHY | changes), thresholds=thresholds or Diagnosis())


def test_every_sign_alone():
    assert word() == "healthy"
    for diagnosis, sign in SICK.items():
        assert word(**sign) == diagnosis


def test_of_two_signs_the_graver_counts():
    for (graver, sign), (lesser, other) in itertools.combinations(SICK.items(), 2):
        if sign.keys().isdisjoint(other):
            assert word(**sign, **other) == graver, (graver, lesser)
    assert list(SICK) == list(DIAGNOSES[:-1])


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, "vanishing"), (math.inf, "exploding"), (math.nan, "healthy")])
def test_ratios_at_the_ends(ratio, expected):
    assert word(gradient_ratio=ratio) == expected


def test_thresholds_are_exclusive_and_come_from_the_config():
    assert word(gradient_ratio=1e-3) == word(gradient_ratio=1e3) == word(dead_fraction=0.5) == "healthy"
    assert word(saturated_fraction=0.5) == "healthy"
    strict = Diagnosis(vanishing=0.6, dying=0.05, saturated=0.05)
    assert word(strict) == "vanishing"
    assert word(strict, gradient_ratio=1.0) == "dying"
    assert word(strict, gradient_ratio=1.0, dead_fraction=0.0) == "saturated"


def test_a_flat_half_is_no_saturation():
    assert word(saturated_fraction=0.9, reaches_zero_derivative=True) == "healthy"


def test_what_is_unknown_decides_nothing():
    assert word(gradient_ratio=None, dead_fraction=None, saturated_fraction=None) == "healthy"
    assert word(dead_fraction=math.nan, saturated_fraction=math.nan) == "healthy"
