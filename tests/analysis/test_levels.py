"""Settings as numbered levels: their order, columns that change together, numbers in quarters, names without end."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.analysis.levels import MANY_LEVELS, TOO_MANY_LEVELS, factors_of


def columns(**values):
    """Settings of cells from a list of values for each column."""
    names = list(values)
    return [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)], names


def levels_in_cells(factor):
    return [factor.levels[code] for code in factor.codes]


def test_levels_stand_in_order_and_every_cell_has_its_own():
    (depth, activation), notes = factors_of(
        *columns(depth=[50, 2, 10, 2], activation=["relu", "relu", "tanh", "sigmoid"])
    )
    assert (depth.name, depth.levels) == ("depth", (2, 10, 50))
    assert (activation.name, activation.levels) == ("activation", ("sigmoid", "tanh", "relu"))
    assert levels_in_cells(depth) == [50, 2, 10, 2]
    assert levels_in_cells(activation) == ["relu", "relu", "tanh", "sigmoid"]
    assert notes == []


def test_what_is_missing_comes_last_and_booleans_are_no_numbers_to_cut():
    (kwarg, residual), _ = factors_of(*columns(kwarg=[3.0, None, 1.0], residual=[True, False, False]))
    assert kwarg.levels == (1.0, 3.0, None)
    assert residual.levels == (False, True)


def test_what_does_not_vary_is_no_factor():
    factors, notes = factors_of(*columns(depth=[2, 3, 2, 3], width=[8] * 4))
    assert [factor.name for factor in factors] == ["depth"]
    assert notes == []


def test_columns_that_always_change_together_are_one_factor():
    (factor,), _ = factors_of(*columns(depth=[50, 2, 10], width=[8, 64, 16], init=["c", "a", "b"]))
    assert factor.name == "depth + width + init"
    assert factor.levels == ("2 + 64 + a", "10 + 16 + b", "50 + 8 + c")
    assert levels_in_cells(factor) == ["50 + 8 + c", "2 + 64 + a", "10 + 16 + b"]


def test_a_column_that_only_depends_on_another_stays_itself():
    """Every depth has one width, but width 8 has two depths: their partitions differ."""
    factors, _ = factors_of(*columns(depth=[2, 3, 4], width=[8, 8, 16]))
    assert [factor.name for factor in factors] == ["depth", "width"]


def test_ten_numbers_are_levels_and_eleven_are_quarters():
    (ten,), _ = factors_of(*columns(lr=list(range(MANY_LEVELS))))
    assert ten.levels == tuple(range(MANY_LEVELS))
    (twelve,), _ = factors_of(*columns(lr=[0.1, 0.2, 0.3, 1, 2, 3, 10, 20, 30, 100, 200, 300]))
    assert twelve.levels == ("0.1 .. 0.3", "1 .. 3", "10 .. 30", "100 .. 300")
    assert twelve.codes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@given(st.lists(st.integers(-1000, 1000), min_size=MANY_LEVELS + 1, max_size=90, unique=True), st.randoms())
def test_quarters_split_the_values_evenly_and_in_order(values, random):
    """However often each value stands there."""
    cells = values + random.choices(values, k=20)
    (factor,), _ = factors_of(*columns(lr=cells))
    quarters = [sorted({v for v, code in zip(cells, factor.codes, strict=True) if code == q}) for q in range(4)]
    assert list(itertools.chain(*quarters)) == sorted(values)
    sizes = [len(quarter) for quarter in quarters]
    assert max(sizes) - min(sizes) <= 1
    assert factor.levels == tuple(f"{quarter[0]} .. {quarter[-1]}" for quarter in quarters)


@pytest.mark.parametrize("many", [TOO_MANY_LEVELS, TOO_MANY_LEVELS + 1])
def test_names_without_end_are_noted_and_left_out(many):
    cells = [f"f{number}" for number in range(many)]
    factors, notes = factors_of(*columns(activation=cells, depth=[number % 3 for number in range(many)]))
    if many <= TOO_MANY_LEVELS:
        assert [factor.name for factor in factors] == ["activation", "depth"]
        assert notes == []
    else:
        assert [factor.name for factor in factors] == ["depth"]
        assert len(notes) == 1
        assert "activation has 101 values" in notes[0]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=1, max_size=12))
def test_factors_split_the_cells_as_their_columns_do(rows):
    settings, names = columns(**dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True)))
    factors, _ = factors_of(settings, names)
    partitions = {name: partition([cell[name] for cell in settings]) for name in names}
    told = {name: partition(factor.codes.tolist()) for factor in factors for name in factor.name.split(" + ")}
    assert told == {name: split for name, split in partitions.items() if len(split) > 1}
    kept = [partition(factor.codes.tolist()) for factor in factors]
    assert len(set(kept)) == len(kept)


def partition(values):
    return frozenset(frozenset(np.flatnonzero([v == value for v in values]).tolist()) for value in values)
