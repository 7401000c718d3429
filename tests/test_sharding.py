"""Who trains what: told by the plan alone, everything once, about evenly."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.engine.stacks import Part
from gradlab.errors import UsageError
from gradlab.sharding import MOST, Shard, dealt


def parts_of(costs: list[float]) -> list[Part]:
    return [Part(str(index), (), cost) for index, cost in enumerate(sorted(costs, reverse=True))]


@pytest.mark.parametrize(("text", "index", "count"), [("0/1", 0, 1), ("2/3", 2, 3), (f"7/{MOST}", 7, MOST)])
def test_shards_are_written_as_they_are_shown(text: str, index: int, count: int) -> None:
    assert Shard.parse(text) == Shard(index, count)
    assert str(Shard(index, count)) == text


@pytest.mark.parametrize(
    "text",
    [
        "3/3",
        "1",
        "",
        "/",
        "1/",
        "0/0",
        "-1/3",
        "1/2/3",
        "a/b",
        "0.5/2",
        " 0/2",
        "0/2\n",
        "١/٣",
        f"0/{MOST + 1}",
        "0/" + "9" * 40,
    ],
)
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 100])
@pytest.mark.parametrize("size", [0, 1, 16, 90])
def test_every_part_is_somebody_s_and_nobody_has_much_more_than_others(count: int, size: int) -> None:
    parts = parts_of([float(cost) for cost in np.random.default_rng(size).exponential(size=size)])
    shares = dealt(parts, count)
    assert len(shares) == count
    assert sorted(part.part_id for share in shares for part in share) == sorted(part.part_id for part in parts)
    loads = [sum(part.cost for part in share) for share in shares]
    # Who has most had least before its last part: it exceeds no other share by more than that part.
    for share, load in zip(shares, loads, strict=True):
        assert not share or load - share[-1].cost <= min(loads) + 1e-9
    assert dealt(parts, count) == shares


def test_equal_parts_are_dealt_in_turn() -> None:
    assert [[part.part_id for part in share] for share in dealt(parts_of([1.0] * 7), 3)] == [
        ["0", "3", "6"],
        ["1", "4"],
        ["2", "5"],
    ]


def test_parts_that_cost_nothing_are_dealt_evenly_too() -> None:
    assert [len(share) for share in dealt(parts_of([0.0] * 6), 3)] == [2, 2, 2]
