"""Packed arrays come back: numbers to the precision that is promised, codes exactly, equal ones once."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gradlab.report.page.packing import Pool


def unpacked(pool, packed, shape):
    """What the page's script makes of it, in other words."""
    if packed is None:
        return np.full(shape, np.nan)
    place, low, step = packed
    codes = np.frombuffer(base64.b64decode(pool.texts[place]), "<u2").reshape(shape)
    return np.where(codes == 65535, np.nan, low + codes * step)


def repeated(pool, place):
    pairs = base64.b64decode(pool.texts[place])
    return [value for value, count in zip(pairs[::2], pairs[1::2], strict=True) for _ in range(count)]


@given(arrays(np.float64, array_shapes(max_dims=2, max_side=8), elements=st.floats(-1e6, 1e6) | st.just(np.nan)))
def test_numbers_come_back_to_a_part_of_their_range(values):
    pool = Pool()
    found = unpacked(pool, pool.reals(values), values.shape)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    if not np.isnan(values).all():
        span = np.nanmax(values) - np.nanmin(values)
        # Half a step between codes, and what nine digits of the ends leave.
        slack = span / 65534 * 0.51 + 1e-7 * np.nanmax(np.abs(values)) + 1e-300
        assert np.nanmax(np.abs(found - values)) <= slack


@pytest.mark.parametrize("value", [0.0, -3.25, 1e300, 5e-324])
def test_one_value_throughout(value):
    pool = Pool()
    np.testing.assert_allclose(unpacked(pool, pool.reals(np.full(5, value)), 5), value, rtol=1e-8)


def test_what_is_not_finite_has_no_value_and_the_largest_floats_do():
    pool = Pool()
    assert pool.reals(np.array([np.nan, np.inf, -np.inf])) is None
    found = unpacked(pool, pool.reals(np.array([-1.7e308, np.inf, 0.0, 1.7e308])), 4)
    assert np.isnan(found).tolist() == [False, True, False, False]
    assert np.isfinite(found[[0, 2, 3]]).all()
    assert (np.diff(found[[0, 2, 3]]) > 0).all()


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 600)), max_size=6))
def test_runs_come_back(pieces):
    codes = [value for value, count in pieces for _ in range(count)]
    pool = Pool()
    assert repeated(pool, pool.runs(np.array(codes, np.uint8))) == codes


def test_equal_arrays_stand_there_once():
    pool = Pool()
    one, other, shifted = (pool.reals(np.array(values)) for values in ([0.0, 1.0], [0.0, 1.0], [5.0, 7.0]))
    assert one == other
    assert shifted[0] == one[0], "the same codes over another range"
    assert len(pool.texts) == 1
