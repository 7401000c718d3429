"""The strip of bars shows magnitude by height, and by a colour scale that is ordered by lightness."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.report.strip import ASCII_BARS, BARS, Scale, colour, resample, strip


def test_a_strip_by_hand():
    scale = Scale.of([-7.0, 0.0])
    assert strip([-7.0, -6.0, -1.0, 0.0, None, -math.inf], scale).plain == "▁▂▇█ x"
    assert strip([-7.0, 0.0], scale, ascii_only=True).plain == ASCII_BARS[0] + ASCII_BARS[-1]


@given(st.lists(st.floats(-60, 10), min_size=1, max_size=50))
def test_a_larger_gradient_never_has_a_lower_bar(values):
    bars = strip(sorted(values), Scale.of(values), width=len(values)).plain
    assert list(bars) == sorted(bars, key=BARS.index)
    assert bars[-1] == BARS[-1]


def test_noise_looks_flat_and_one_deep_network_does_not_flatten_the_others():
    noise = [-2.0, -2.1, -1.95]
    assert set(strip(noise, Scale.of(noise)).plain) == {"█"}
    scale = Scale.of([-300.0, -8.0, 0.0])
    assert scale.cut
    assert strip([-300.0, -8.0, 0.0], scale).plain in {"▁▄█", "▁▅█"}
    assert not Scale.of([-5.0, 0.0]).cut
    assert Scale.of([]) == Scale.of([None, -math.inf])


def test_deep_networks_are_resampled_by_means():
    assert resample([0.0, 2.0, 4.0, 6.0], 2) == [1.0, 5.0]
    assert resample([1.0], 5) == [1.0]
    assert resample([None, 1.0, -math.inf, 3.0], 2) == [1.0, -math.inf]
    assert len(strip([float(layer) for layer in range(1000)], Scale(0, 999)).plain) == 24


def test_colours_get_lighter_with_magnitude():
    def luminance(level):
        channels = (int(colour(level)[place : place + 2], 16) / 255 for place in (1, 3, 5))
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    steps = [luminance(level + 1) - luminance(level) for level in range(7)]
    assert min(steps) > 0.01
    # WCAG contrast with black above 2:1, also for the darkest, and some with white for the lightest
    assert (luminance(0) + 0.05) / 0.05 > 2
    assert 1.05 / (luminance(7) + 0.05) == pytest.approx(2, abs=0.4)
