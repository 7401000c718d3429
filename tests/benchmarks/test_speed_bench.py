"""The arithmetic of the speed benchmark: what its ratios, shares and exponents mean."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.speed.cases import Case, digits
from benchmarks.speed.growth import exponent
from benchmarks.speed.in_process import Laps, first_stack, run_engine
from benchmarks.speed.odd import grid
from benchmarks.speed.processes import Used, plain_loops, run_together
from benchmarks.speed.recording import STEPS, Round
from benchmarks.speed.report import Wanted, micro, spread
from benchmarks.speed.whole import Pair, Side
from benchmarks.yardstick import Seconds
from gradlab.engine.batches import is_recorded

MEBI = 1 << 20


def test_ratios_are_of_the_time_that_a_trial_takes_beyond_start_up() -> None:
    plain = Side(run=Used(9.0, 5.0, 0), start=Used(1.0, 1.0, 0), trials=4, steps=10)
    gradlab = Side(run=Used(7.0, 4.0, 0), start=Used(3.0, 2.0, 0), trials=40, steps=10)
    pair = Pair(plain, gradlab)
    assert plain.wall() == pytest.approx(0.1)
    assert gradlab.wall() == pytest.approx(0.005)
    assert pair.ratio() == pytest.approx(20)
    assert pair.processor_ratio() == pytest.approx(20)
    assert pair.end_to_end() == pytest.approx(1.25)


def test_laps_are_per_trial_and_step() -> None:
    laps = Laps(trials=2)
    laps.steps = [Seconds(float(step), 2.0 * step) for step in range(5)]
    laps.end = Seconds(10.0, 20.0)
    assert laps.between(1, 3) == Seconds(0.5, 1.0)
    assert laps.whole() == Seconds(1.25, 2.5)


def test_the_engine_tells_of_every_step() -> None:
    task, _ = digits()
    laps, histories = run_engine(first_stack(Case(3, width=8, depth=1, steps=5).expanded(), task), task)
    assert len(laps.steps) == 5
    assert len(histories) == laps.trials == 3
    assert laps.end is not None


@pytest.mark.parametrize("every", STEPS)
def test_timed_steps_hold_as_many_records_as_every_says(every: int) -> None:
    steps = STEPS[every]
    records = sum(is_recorded(step, steps, every) for step in range(1, steps - 1))
    assert records == (steps - 2) // every


def test_recording_is_what_it_adds_to_a_step_less_the_products() -> None:
    one = Round(spent={1000: 2.0, 10: 2.3, 1: 5.0}, stated={}, products=1.0)
    assert one.added(10) == pytest.approx(0.15)
    assert one.beyond(10) == pytest.approx(0.15 - 0.05)
    assert one.beyond(1) == pytest.approx(1.5 - 0.5)


def test_exponents_are_the_powers_of_growth() -> None:
    counts = (50, 200, 800)
    assert exponent(counts, [3.0 * count**1.05 for count in counts]) == "1.05"
    assert exponent(counts[:1], [1.0]) == ""
    assert exponent(counts, [-0.1, 1.0, 4.0]) == ""


def test_a_case_means_the_same_to_both_sides() -> None:
    sweep = Case(3, steps=2, grid=(("model.depth", (1, 2)), ("model.activation", ("relu", "tanh"))))
    plain = sweep.plain()
    assert len(plain) == len(sweep.expanded()) == 12
    assert {(one.depth, one.activation) for one in plain} == {(1, "relu"), (1, "tanh"), (2, "relu"), (2, "tanh")}
    assert replace(sweep, family="cnn").plain()[0].family == "cnn"


def test_programs_are_measured_until_all_have_ended() -> None:
    hungry = [sys.executable, "-c", f"x = bytearray({200 * MEBI})"]
    used = run_together([hungry, [sys.executable, "-c", "import time; time.sleep(0.2)"]])
    assert used.wall >= 0.2
    assert 200 * MEBI < used.memory < 2000 * MEBI
    assert used.processor > 0


def test_a_program_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="no such luck"):
        run_together([[sys.executable, "-c", "raise SystemExit('no such luck')"]])


def test_processes_share_the_trials_of_the_plain_loop() -> None:
    used = plain_loops(Case(3, width=4, depth=1, steps=2, probe=8).plain(), processes=2)
    assert used.processor > 0


def test_odd_cases_are_all_different() -> None:
    assert len(set(grid())) == len(grid())


def test_cells() -> None:
    assert micro(1.234e-3) == "1234"
    assert micro(4.5e-6) == "4.5"
    assert spread([1.5, 20.0, 3.0]) == ["3.0x", "1.50x", "20.0x"]


def test_rounds_are_the_parts_own_unless_given() -> None:
    def wanted(quick: bool, rounds: int | None) -> Wanted:
        return Wanted(quick, rounds, "cpu", Path(), lambda what: None)

    assert wanted(False, None).count(5) == 5
    assert wanted(True, None).count(5, quick=2) == 2
    assert wanted(True, 7).count(5) == 7
