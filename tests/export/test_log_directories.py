"""Names of log directories: readable where trials are ordinary, safe and different whatever they are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gradlab.export.log_directories import MAX_LENGTH, log_directories


def test_a_name_says_what_varies() -> None:
    trials = [
        {"trial_id": "4863c0eb0bf822be", "depth": 10, "activation": "leaky_relu(negative_slope=0.2)", "seed": 0},
        {"trial_id": "bfdfe8f4e8166263", "depth": 2, "activation": None, "seed": 1},
    ]
    assert list(log_directories(trials, ["depth", "activation"]).values()) == [
        "depth=10,activation=leaky_relu-negative_slope=0.2,seed=0,4863c0eb",
        "depth=2,seed=1,bfdfe8f4",
    ]
    assert list(log_directories(trials, []).values()) == ["seed=0,4863c0eb", "seed=1,bfdfe8f4"]


@given(
    st.lists(st.tuples(st.text("0123456789abcdef", min_size=16, max_size=16), st.text()), unique_by=lambda it: it[0]),
    st.text(min_size=1, max_size=60),
    st.integers(0, 2**63 - 1),
)
def test_names_are_safe_short_and_different(trials: list[tuple[str, str]], column: str, seed: int) -> None:
    rows = [{"trial_id": trial, "seed": seed} | {column: value} for trial, value in trials]
    names = log_directories(rows, [column] if column not in {"trial_id", "seed"} else [])
    assert list(names) == [trial for trial, _ in trials]
    assert len({name.lower() for name in names.values()}) == len(trials)
    for trial, name in names.items():
        assert re.fullmatch(r"[A-Za-z0-9_.,=+-]+", name)
        assert not name.startswith((".", "-"))
        assert not name.endswith(".")
        assert len(name) <= MAX_LENGTH
        assert f"seed={seed}," in name
        assert name.rpartition(",")[2] == trial[: len(name.rpartition(",")[2])]
        assert len(name.rpartition(",")[2]) >= 8


def test_ids_that_begin_alike_are_shown_longer() -> None:
    rows = [{"trial_id": f"00000000{end}", "seed": 0} for end in ("aaab", "aaac", "bbbb")]
    assert list(log_directories(rows, []).values()) == [f"seed=0,00000000{end}" for end in ("aaab", "aaac", "bbbb")]
