"""Three significant digits at any size."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.analysis.wording import number, percent, power, setting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (0.5, "0.500"),
        (123.4, "123"),
        (0.00123, "0.00123"),
        (1.234e-5, "1.23e-5"),
        (1234.0, "1.23e3"),
        (9.999, "10.0"),
        (-0.25, "-0.250"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("log10", "text"),
    [
        (-412 + math.log10(1.23), "1.23e-412"),
        (-400.0, "1.00e-400"),
        (-400 + math.log10(9.999), "1.00e-399"),
        (500.5, "3.16e500"),
        (-2.0, "0.0100"),
        (-math.inf, "0"),
        (math.inf, "inf"),
        (None, "-"),
    ],
)
def test_powers(log10, text):
    assert power(log10) == text


@given(st.floats(-1000, 1000))
def test_a_power_reads_back(log10):
    mantissa, _, exponent = power(log10).partition("e")
    assert math.log10(float(mantissa)) + int(exponent or 0) == pytest.approx(log10, abs=0.0044)


def test_shares():
    assert [percent(share) for share in (0.0, 1e-5, 0.004, 0.0999, 0.62, 1.0, None, math.nan)] == [
        "0 %",
        "<0.1 %",
        "0.4 %",
        "10 %",
        "62 %",
        "100 %",
        "-",
        "-",
    ]


def test_settings_read_as_in_the_config():
    shown = [setting(value) for value in (True, False, None, 1e-5, 0.1 + 0.2, 30, "relu")]
    assert shown == ["true", "false", "-", "1e-05", "0.30000000000000004", "30", "relu"]
