"""Any condition over any table chooses the rows that a naive interpreter of one row at a time chooses."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.analysis.where.condition import parse_where
from tests.analysis.where.language import CONDITIONS, ROWS, table


@settings(deadline=None, max_examples=400)
@given(CONDITIONS, st.lists(ROWS, min_size=1, max_size=5))
def test_against_a_naive_interpreter(condition, some_rows):
    text, _, holds = condition
    whole, trials = table(some_rows)
    chosen = np.flatnonzero(parse_where(text).mask(trials)).tolist()
    assert chosen == [place for place, row in enumerate(whole) if holds(row)]
