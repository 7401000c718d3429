"""What is wrong with a user's model: one message with the place in the config and the line of the user's own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.end_to_end.commands import Answer, gradlab, invoke, only_run, read, write_config

CODE = """\
    import torch
    from torch import nn


    def sound(in_features, out_features, width=4):
        return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, out_features))


    def raising():
        raise RuntimeError("out of\\nmilk")  # line 10


    def no_module():  # line 13
        return {"a": 1}


    def wrong_size(in_features, out_features):  # line 17
        return nn.Linear(in_features, out_features + 2)


    class Stumbling(nn.Linear):
        def forward(self, x):
            if self.training:
                raise ValueError("stumbled")  # line 24
            return super().forward(x)


    def stumbling(in_features, out_features):
        return Stumbling(in_features, out_features)


    class Growing(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            return torch.cat([out, out], 1) if self.training else out


    def growing(in_features, out_features):  # line 38
        return Growing(in_features, out_features)


    def odd(in_features, out_features, width):
        if width == 5:
            raise ValueError("an odd width")  # line 44
        return sound(in_features, out_features, width)


    def unlucky(in_features, out_features):
        if torch.initial_seed() == 2:
            raise ValueError("an unlucky seed")  # line 50
        return sound(in_features, out_features)


    class Deaf(nn.Linear):
        def __init__(self, out_features):
            super().__init__(7, out_features)

        def forward(self, x):
            return super().forward(x)  # line 59


    def deaf(out_features):
        return Deaf(out_features)
    """

HEAD = "data: {name: moons, n_samples: 60}\ntrain: {steps: 3, batch_size: 10}\nseeds: 4\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(textwrap.dedent(CODE))
    (tmp_path / "broken.py").write_text("import math\nimport nothing_there\n")
    (tmp_path / "syntax.py").write_text("\n\ndef f(:\n")
    return tmp_path


def run_it(folder: Path, model: str, *options: str) -> tuple[Path, Answer]:
    config = write_config(folder, HEAD + textwrap.dedent(model))
    return config, gradlab("run", config, "--out", folder / "runs", "--quiet", *options)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("nowhere.py:f", ["no such file", "nowhere.py"]),
        ("mine.py:nothing", ["mine.py has no function 'nothing'"]),
        ("broken.py:f", ["nothing_there", "{folder}/broken.py:2"]),
        ("syntax.py:f", ["SyntaxError", "{folder}/syntax.py:3"]),
        ("mine.py:raising", ["RuntimeError: out of milk", "{folder}/mine.py:10"]),
        ("mine.py:no_module", ["torch.nn.Module, not dict", "{folder}/mine.py:13"]),
        ("mine.py:wrong_size", ["[2, 3]", "needs [2, 1]", "{folder}/mine.py:17"]),
        ("mine.py:odd", ["missing 1 required positional argument: 'width'", "{folder}/mine.py:42"]),
        ("mine.py:deaf", ["shape [2]", "{folder}/mine.py:59"]),
    ],
)
def test_what_can_be_known_before_any_training(factory: str, words: list[str], folder: Path) -> None:
    config = write_config(folder, f"{HEAD}model:\n  family: custom\n  factory: {factory}\n")
    answer = invoke("run", config, "--out", folder / "runs")
    assert answer.code == 2
    (message,) = answer.stderr.splitlines()
    assert message.startswith(f"{config}:6:12: model.factory: ")
    for word in words:
        assert word.format(folder=folder) in message
    assert answer.stdout == ""
    assert not (folder / "runs").exists()


def test_a_swept_factory_of_which_one_is_bad(folder: Path) -> None:
    config, answer = run_it(
        folder,
        """\
        model: {family: custom}
        sweep:
          grid:
            model.factory:
              - mine.py:sound
              - mine.py:raising
        """,
    )
    assert answer.code == 2
    (message,) = answer.stderr.splitlines()
    assert message.startswith(f"{config}:9:9: model.factory: raising() raised")
    assert f"{folder}/mine.py:10" in message


def test_a_swept_argument_of_which_one_is_bad(folder: Path) -> None:
    config, answer = run_it(
        folder, "model: {family: custom, factory: 'mine.py:odd'}\nsweep: {grid: {model.kwargs.width: [4, 5, 6]}}\n"
    )
    assert answer.code == 2
    (message,) = answer.stderr.splitlines()
    assert message.startswith(f"{config}:4:34: model.factory: odd(width=5) raised ValueError: an odd width")
    assert f"{folder}/mine.py:44" in message
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_fails_for_one_seed_fails_that_trial_and_the_others_go_on(workers: str, folder: Path) -> None:
    config, answer = run_it(folder, "model: {family: custom, factory: 'mine.py:unlucky'}\n", "--workers", workers)
    assert answer.code == 4
    trials = read(only_run(folder / "runs"), "trials").set_index("seed")
    assert trials["status"].to_dict() == {0: "completed", 1: "completed", 2: "failed", 3: "completed"}
    assert f"an unlucky seed ({folder}/mine.py:50)" in trials.loc[2, "error"]
    (message,) = answer.stderr.splitlines()
    assert message == f"{config}:4:34: failed for seed 2: {trials.loc[2, 'error']}"


@pytest.mark.parametrize(
    ("factory", "error"),
    [
        ("stumbling", "ValueError: stumbled ({folder}/mine.py:24)"),
        ("growing", "[10, 2] for 10 examples; the binary task needs [10, 1] (in training) ({folder}/mine.py:38)"),
    ],
)
def test_what_fails_in_training_fails_its_trials_and_the_others_go_on(factory: str, error: str, folder: Path) -> None:
    model = f"model: {{family: custom}}\nsweep: {{grid: {{model.factory: ['mine.py:sound', 'mine.py:{factory}']}}}}\n"
    config, answer = run_it(folder, model)
    assert answer.code == 4
    trials = read(only_run(folder / "runs"), "trials")
    failed = trials[trials["status"] == "failed"]
    assert set(failed["model.factory"]) == {f"mine.py:{factory}"}
    assert len(failed) == 4
    assert (trials["status"] == "completed").sum() == 4
    assert all(told.endswith(error.format(folder=folder)) for told in failed["error"])
    (message,) = answer.stderr.splitlines()
    assert message.startswith(f"{config}:5:49: failed for model.factory=mine.py:{factory}, seeds 0, 1, 2, 3: ")
    assert message.endswith(error.format(folder=folder))


def test_many_errors_are_not_all_shown(folder: Path) -> None:
    (folder / "many.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        if self.training:\n"
        "            raise ValueError(f'number {self.number}')\n"
        "        return super().forward(x)\n"
        "def make(in_features, out_features, number):\n"
        "    net = Net(in_features, out_features)\n"
        "    net.number = number\n"
        "    return net\n"
    )
    sweep = f"sweep: {{grid: {{model.kwargs.number: {list(range(8))}}}}}\n"
    _, answer = run_it(folder, f"model: {{family: custom, factory: 'many.py:make'}}\n{sweep}")
    assert answer.code == 4
    *shown, more = answer.stderr.splitlines()
    assert len(shown) == 5
    assert all("many.py:5" in line for line in shown)
    assert more.startswith("3 more errors stand in the column `error`")


def test_an_error_of_several_networks_stands_there_once(folder: Path) -> None:
    factories = "['mine.py:sound', 'mine.py:stumbling']"
    model = f"sweep: {{grid: {{model.factory: {factories}, train.lr: [0.1, 0.2, 0.3, 0.4]}}}}\n"
    config = write_config(folder, HEAD + "model: {family: custom}\n" + model)
    answer = gradlab("run", config, "--out", folder / "runs")
    assert answer.code == 4
    assert "stumbled" not in answer.stdout
    (message,) = (line for line in answer.stderr.splitlines() if "stumbled" in line)
    seeds = "seeds 0, 1, 2, 3"
    shown = "; ".join(f"model.factory=mine.py:stumbling train.lr={lr}, {seeds}" for lr in (0.1, 0.2, 0.3))
    assert message == (
        f"{config}:5:49: failed for {shown} and 1 more network: ValueError: stumbled ({folder}/mine.py:24)"
    )
