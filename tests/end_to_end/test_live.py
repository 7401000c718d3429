"""`gradlab run --live`: what is shown is what is written, and nothing else changes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gradlab.config.load import load
from gradlab.config.sweep import Trial
from gradlab.engine import train
from gradlab.engine.modules import stack_training, training
from gradlab.report.groups_seen import AT_WORK, FINISHED, GroupsSeen
from gradlab.runner import Options, run
from gradlab.sighting import Sighting, Throttle
from tests.end_to_end.commands import identities, read, write_config

MIXED = """
    name: watched
    data: {name: moons, n_samples: 60}
    model: {width: 5}
    train: {steps: 9, batch_size: 10}
    record: {every: 4}
    seeds: 2
    sweep:
      grid:
        model.depth: [1, 3]
        model.activation: [relu, tanh]
        train.lr: [0.05, 1.0e+30]
      include:
        - {model.family: custom, model.factory: "mine.py:talkative", train.lr: 0.1}
        - {model.family: rnn, model.width: 4, model.sequence_length: 2, train.lr: 0.1}
    """
"""Trials that diverge, dead units, a model of one's own, time steps."""

MINE = """
from torch import nn

def talkative(in_features, out_features):
    print("here I am")
    return nn.Sequential(nn.Linear(in_features, 4), nn.Tanh(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, out_features))
"""


class Nobody:
    """Does not watch."""

    sighted = None

    def begin(self, trials: Sequence[Trial], finished: Collection[str], parts: int) -> None: ...

    def progress(self, share: float) -> None: ...

    def stored(self, statuses: Mapping[str, str]) -> None: ...


class Watcher:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self.shares: list[float] = []

    def begin(self, trials: Sequence[Trial], finished: Collection[str], parts: int) -> None:
        self.trials = trials
        self.groups = GroupsSeen(trials, finished)

    def progress(self, share: float) -> None:
        self.shares.append(share)

    def sighted(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)
        self.groups.see(sighting)

    def stored(self, statuses: Mapping[str, str]) -> None:
        self.groups.end(statuses)


def trained(folder: Path, listener: Nobody | Watcher, workers: int) -> Path:
    config = write_config(folder, MIXED)
    (folder / "mine.py").write_text(MINE)
    outcome = run(load(config), folder / "runs", Options(workers=workers, device="cpu"), listener)
    assert (outcome.failed, outcome.missing) == (0, 0)
    return outcome.directory.path


@pytest.fixture(scope="module", params=[1, 2])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Watcher]:
    watcher = Watcher()
    return trained(tmp_path_factory.mktemp("watched"), watcher, request.param), watcher


def last_records(path: Path) -> pd.DataFrame:
    """The rows of each trial's last record along which its gradient is followed."""
    layers = read(path, "layers")
    layers = layers[layers["step"] == layers.groupby("trial_id")["step"].transform("max")]
    has_time = layers.groupby("trial_id")["kind"].transform(lambda kinds: (kinds == "time").any())
    hidden = layers["layer"] < layers.groupby("trial_id")["layer"].transform("max")
    return layers[np.where(has_time, layers["kind"] == "time", hidden)]


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a watcher, for whom nothing may be computed or sent."""

    def forbidden(*_: object) -> None:
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "seen_in_stack", forbidden)
        for module in (stack_training, training):
            patch.setattr(module, "seen_in_modules", forbidden)
        patch.setattr(Throttle, "__call__", forbidden)
        return trained(tmp_path_factory.mktemp("unwatched"), Nobody(), 2)


def test_the_same_files_with_and_without(watched: tuple[Path, Watcher], unwatched: Path) -> None:
    path, _ = watched
    assert len(identities(path)) > 3
    for file in identities(path):
        assert (path / file).read_bytes() == (unwatched / file).read_bytes(), file


def test_the_last_sighting_of_each_trial_is_its_last_record(watched: tuple[Path, Watcher]) -> None:
    path, watcher = watched
    last = {
        trial_id: (sighting, place)
        for sighting in watcher.sightings
        for place, trial_id in enumerate(sighting.trial_ids)
    }
    steps, trials = read(path, "steps"), read(path, "trials").set_index("trial_id")
    assert set(trials["status"]) == {"completed", "diverged"}
    assert set(last) == set(trials.index)
    for trial_id, rows in last_records(path).groupby("trial_id"):
        sighting, place = last[str(trial_id)]
        assert set(rows["step"]) == {sighting.step}
        written = np.where(rows["delta_rms"] == 0, -np.inf, rows["log10_delta_rms"].astype(float))
        seen = sighting.log10_delta_rms[place, : sighting.lengths[place]]
        np.testing.assert_array_equal(seen, written, strict=True)
        assert sighting.along_time == (rows["kind"] == "time").all()
        of_step = steps[(steps["trial_id"] == trial_id) & (steps["step"] == sighting.step)]
        np.testing.assert_array_equal(sighting.train_loss[place], of_step["train_loss"].item())
        dead = trials.loc[trial_id, "dead_fraction"]
        np.testing.assert_allclose(sighting.dead_fraction[place], dead, rtol=1e-12)


def test_groups_are_as_computed_naively_from_the_tables(watched: tuple[Path, Watcher]) -> None:
    path, watcher = watched
    groups, rows = watcher.groups, last_records(path)
    trials, steps = read(path, "trials").set_index("trial_id"), read(path, "steps")
    for place in range(len(groups)):
        seen = groups[place]
        members = [watcher.trials[index].trial_id for index in groups.grouping.members[place]]
        diverged = [one for one in members if trials.loc[one, "status"] == "diverged"]
        assert (seen.state, seen.seen, seen.trials) == (FINISHED, len(members), len(members))
        assert seen.lost.get("diverged", 0) == len(diverged)
        sound = [one for one in members if one not in diverged]
        profile = []
        for _, layer in rows[rows["trial_id"].isin(sound or members)].groupby("layer"):
            logs = [math.log10(value) for value in layer["delta_rms"] if value > 0 and math.isfinite(value)]
            nothing = -math.inf if (layer["delta_rms"] == 0).any() else math.nan
            profile.append(sum(logs) / len(logs) if logs else nothing)
        np.testing.assert_allclose(seen.profile, profile, rtol=1e-9, atol=1e-9)
        losses = steps[steps["trial_id"].isin(sound) & (steps["step"] == 8)]["train_loss"]
        np.testing.assert_allclose(seen.loss, losses.mean() if sound else math.nan)
        assert seen.step == min(rows[rows["trial_id"].isin(sound or members)]["step"])
        if len(profile) < 2 or profile[-1] == -math.inf:
            assert seen.decay is None
        elif not math.isnan(profile[-1]):
            np.testing.assert_allclose(seen.decay, 10 ** ((profile[0] - profile[-1]) / (len(profile) - 1)))
        if len(profile) > 1:
            starts = np.log10(trials.loc[members, "gradient_decay"].astype(float))
            np.testing.assert_allclose(seen.start, 10 ** starts.mean())


def test_progress_never_goes_back_and_comes_to_its_end(watched: tuple[Path, Watcher]) -> None:
    _, watcher = watched
    assert watcher.shares == sorted(watcher.shares)
    assert watcher.shares[-1] == pytest.approx(1)


def test_a_group_is_at_work_from_its_first_sighting_on(watched: tuple[Path, Watcher]) -> None:
    _, watcher = watched
    groups = GroupsSeen(watcher.trials, [])
    assert groups.states() == {AT_WORK: 0, FINISHED: 0, "waiting": len(groups)}
    groups.see(watcher.sightings[0])
    begun = {
        groups.grouping.codes[i]
        for i, one in enumerate(watcher.trials)
        if one.trial_id in watcher.sightings[0].trial_ids
    }
    assert groups.states()[AT_WORK] == len(begun)
    assert groups.most_telling(len(begun)) == sorted(begun)
