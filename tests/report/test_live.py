"""The picture of a run that goes on: it fits, keeps still, and shows what there is."""

import io
import math
import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from gradlab.config.schema import Experiment
from gradlab.config.sweep import expand
from gradlab.report.groups_seen import GroupsSeen, decay_of, mean_logs
from gradlab.report.live import FRAME_EVERY, FRAME_SHARE, LiveDisplay, can_watch
from gradlab.report.live_frame import Frame, Progress
from gradlab.report.progress import ProgressDisplay
from gradlab.sighting import Sighting

HALFWAY = Progress(0.5, "3/12 trials stored, 0:10, about 10 s left")


def trials(depths=(2, 9), activations=("relu", "tanh"), seeds=3):
    grid = {"model.depth": list(depths), "model.activation": list(activations)}
    return expand(Experiment.model_validate({"seeds": seeds, "sweep": {"grid": grid}}))


def seen(trial, step=40, profile=None, loss=0.5):
    profile = np.linspace(-3, 0, trial.model.depth) if profile is None else np.array(profile, float)
    return Sighting(
        (trial.trial_id,), step, 100, (len(profile),), profile[None], np.array([0.25]), np.array([float(loss)])
    )


def picture(groups, width=120, height=40, ascii_only=False):
    return [line.plain for line in Frame(groups).lines(HALFWAY, width, height, ascii_only)]


def test_a_picture_by_hand():
    several = trials()
    groups = GroupsSeen(several, [])
    for trial in several[:3]:
        groups.see(seen(trial, profile=[-7, 0]))
    groups.see(seen(several[-1], profile=[-math.inf, *[-7.0] * 7, math.nan], loss=math.nan))
    groups.end({trial.trial_id: "completed" for trial in several[:3]} | {several[-2].trial_id: "failed"})
    assert [line.rstrip() for line in picture(groups)] == [
        "  depth  activation  step  trials   loss  dead    decay  at step 0  gradient",
        "·     2  tanh",
        "✓     2  relu          40     3/3  0.500  25 %  1.00e-7          -  ▁█",
        "▸     9  tanh          40     1/3      -  25 %        -          -  x▁▁▁▁▁▁▁?  1/3 diverged, 1/3 failed",
        "·     9  relu",
        "  ▁ 1.00e-7 ▂▃▄▅▆▇ 1.00 █  delta by hidden layer; x exactly 0, ? no number",
        "  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   50 %  3/12 trials stored, 0:10, about 10 s left",
    ]


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 200), st.integers(3, 50), st.booleans(), st.data())
def test_it_fits_any_terminal(width, height, ascii_only, data):
    label = data.draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
    several = trials(activations=("relu", "tanh", "selu"), seeds=1)
    groups = GroupsSeen(several, [])
    groups.grouping.settings[0]["activation"] = label
    frame = Frame(groups)
    for trial in several:
        if data.draw(st.booleans()):
            groups.see(seen(trial, loss=data.draw(st.sampled_from([0.5, math.inf, 1e-12]))))
        lines = frame.lines(HALFWAY, width, height, ascii_only)
        assert len(lines) < height or len(lines) == 1
        assert max(cell_len(line.plain) for line in lines) <= width
        assert lines[-1].plain.strip()
        if ascii_only and label.isascii() and label.isprintable():
            assert all(line.plain.isascii() for line in lines)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", "".join(line.plain for line in lines))


def test_where_there_is_no_room_those_at_work_are_shown_and_the_others_counted():
    several = trials(depths=range(2, 42), activations=("relu",), seeds=1)
    groups = GroupsSeen(several, [several[0].trial_id])
    for trial in several[10:13]:
        groups.see(seen(trial))
    for trial in several[20:22]:
        groups.see(seen(trial))
        groups.end({trial.trial_id: "completed"})
    lines = picture(groups, height=11)
    shown = [line.split()[:2] for line in lines[1:-2]]
    assert shown == [
        ["·", "3"],
        ["·", "4"],
        ["▸", "12"],
        ["▸", "13"],
        ["▸", "14"],
        ["✓", "22"],
        ["✓", "23"],
    ]
    assert lines[-2] == "  and 32 more: 32 waiting", "one was finished before"


def test_a_group_that_explodes_does_not_flatten_the_others():
    several = trials(depths=(5, 6, 7), activations=("relu",), seeds=1)
    groups = GroupsSeen(several, [])
    for trial, high in zip(several, (0, 0, 90), strict=True):
        groups.see(seen(trial, profile=np.linspace(high - 4, high, trial.model.depth)))
    lines = picture(groups)
    assert all(len(set(line.split()[-1])) > 2 for line in lines[1:3])
    assert set(lines[3].split()[-1]) == {"█"}
    assert "or more" in lines[4]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([-math.inf, math.nan, math.inf, -3.0, -1.0]), max_size=4), min_size=1))
def test_means_are_those_of_numbers(profiles):
    means = mean_logs([np.array(profile) for profile in profiles])
    for place, mean in enumerate(means):
        there = [profile[place] for profile in profiles if len(profile) > place]
        finite = [value for value in there if math.isfinite(value)]
        if finite:
            assert mean == pytest.approx(sum(finite) / len(finite))
        else:
            assert mean == -math.inf if -math.inf in there else math.isnan(mean)


def test_decay():
    assert decay_of([]) is decay_of([1.0]) is None
    assert decay_of([-4.0, -2.0, 0.0]) == pytest.approx(0.01)
    assert decay_of([-math.inf, 0.0]) == 0
    assert decay_of([-math.inf, -math.inf]) is None
    assert math.isnan(decay_of([math.nan, 0.0]))


class Clock:
    """A clock that stands still, but when a frame is drawn."""

    def __init__(self):
        self.now, self.cost = 0.0, 0.0

    def __call__(self):
        return self.now


class Screen(io.StringIO):
    """Where a frame takes its time."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.frames = clock, []

    def write(self, text):
        if "gradient" in text:
            self.frames.append(self.clock.now)
            self.clock.now += self.clock.cost
        return super().write(text)


@pytest.mark.parametrize("cost", [0.0, 0.05])
def test_frames_are_rare_and_rarer_where_they_cost_much(cost):
    clock = Clock()
    clock.cost = cost
    screen = Screen(clock)
    console = Console(file=screen, force_terminal=True, width=80, height=24, _environ={})
    with LiveDisplay(console, clock) as display:
        several = trials()
        display.begin(several, [], 4)
        for _ in range(4000):
            clock.now += 0.005
            display.progress(clock.now / 100)
            display.sighted(seen(several[0]))
    pauses = np.diff(screen.frames[:-1])
    least = max(FRAME_EVERY, cost / FRAME_SHARE)
    assert (pauses >= least).all()
    assert pauses.mean() < least + cost + 0.02
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize("display", [LiveDisplay, lambda console: ProgressDisplay(console, quiet=False)])
def test_nothing_draws_beside_what_forks_workers(display):
    """A lock that a thread holds in that moment stays locked in the worker."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, _environ={})
    threads = threading.active_count()
    with display(console) as shown:
        shown.begin(trials(), [], 4)
        shown.progress(0.5)
        assert threading.active_count() == threads
        assert console.file.getvalue()


def test_where_a_picture_can_move():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert can_watch(Console(file=Terminal(), _environ={"TERM": "xterm", "NO_COLOR": "1"}))
    assert not can_watch(Console(file=Terminal(), _environ={"TERM": "dumb"}))
    assert not can_watch(Console(file=io.StringIO(), _environ={"TERM": "xterm", "FORCE_COLOR": "1"}))


def test_a_single_group_and_hardly_any_room():
    groups = GroupsSeen(trials([3], ["relu"]), [])
    for width in range(1, 40):
        assert picture(groups, width=width)
