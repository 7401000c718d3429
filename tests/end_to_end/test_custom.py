"""The user's own model, data and activation."""

from __future__ import annotations

import json
import signal
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.commands import (
    KEYS,
    gradlab,
    invoke,
    only_run,
    parts,
    read,
    same,
    same_runs,
    start,
    train,
    wait_for,
    write_config,
)

CODE = """
    import numpy as np
    import torch
    from torch import nn


    def perceptron(in_features, out_features, width=4, inplace=True):
        return nn.Sequential(
            nn.Linear(in_features, width), nn.ReLU(inplace=inplace), nn.Linear(width, width), nn.ReLU(inplace=inplace),
            nn.Linear(width, out_features),
        )


    def noisy(in_features, out_features):
        return nn.Sequential(
            nn.Linear(in_features, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, out_features)
        )


    def deep(in_features, out_features, activation="Sigmoid", norm=False):
        layers, size = [], in_features
        for _ in range(3):
            layers += [nn.Linear(size, 33), *([nn.BatchNorm1d(33)] if norm else []), getattr(nn, activation)()]
            size = 33
        return nn.Sequential(*layers, nn.Linear(size, out_features))


    def without_activation(out_features):
        return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, out_features))


    def rings(count=40, gap=1.0):
        random = np.random.default_rng(0)
        angle, label = random.uniform(0, 6.28, count), np.arange(count) % 2
        x = (1 + gap * label)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        half = count // 2
        return {"x_train": x[:half], "y_train": label[:half], "x_eval": x[half:], "y_eval": label[half:],
                "task": "binary"}


    def my_tanh(x):
        return torch.tanh(x)


    def my_relu(x):
        return x * (x > 0)
    """


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the user's code; the configs stand beside it, the current folder is another."""
    made = tmp_path / "project"
    made.mkdir()
    (made / "mine.py").write_text(textwrap.dedent(CODE))
    return made


def test_a_swept_custom_model_is_the_built_in_one(folder: Path, tmp_path: Path) -> None:
    """The same network, once from a factory with in-place ReLUs and once built in."""
    common = "data: {name: moons, n_samples: 60}\ntrain: {steps: 6, batch_size: 10}\nrecord: {every: 3, probe: 20}\n"
    custom = "model: {family: custom, factory: 'mine.py:perceptron'}\nsweep: {grid: {model.kwargs.width: [3, 5]}}\n"
    built_in = "model: {depth: 2}\nsweep: {grid: {model.width: [3, 5]}}\n"
    mine = train(write_config(folder, common + custom + "seeds: 2", "custom.yaml"), tmp_path / "custom")
    theirs = train(write_config(folder, common + built_in + "seeds: 2", "built_in.yaml"), tmp_path / "built_in")
    trials, expected = read(mine, "trials"), read(theirs, "trials")
    assert set(trials["family"]) == {"custom"}
    assert trials["activation"].isna().all()
    assert set(trials["status"]) == {"completed"}
    assert trials["model.kwargs.width"].dtype == "int64"

    pairs = trials.merge(expected, left_on=["model.kwargs.width", "seed"], right_on=["width", "seed"])
    assert len(pairs) == 4
    for name in ("parameters", "final_eval_loss", "dead_fraction", "gradient_ratio", "gradient_decay"):
        assert pairs[f"{name}_x"].tolist() == pytest.approx(pairs[f"{name}_y"].tolist(), rel=1e-4), name
    assert pairs["predicted_gradient_decay_x"].isna().all()

    renamed = dict(zip(pairs["trial_id_y"], pairs["trial_id_x"], strict=True))
    layers, other = read(mine, "layers"), read(theirs, "layers")
    both = layers.merge(other.assign(trial_id=other["trial_id"].map(renamed)), on=["trial_id", "step", "layer"])
    assert len(both) == len(layers) == len(other) == 4 * 3 * 3
    for name in [name for name in layers if f"{name}_x" in both and name not in {"name", "kind"}]:
        one, two = both[f"{name}_x"].astype(float), both[f"{name}_y"].astype(float)
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-7, err_msg=name)


def test_batch_normalisation_and_dropout(folder: Path, tmp_path: Path) -> None:
    config = write_config(
        folder,
        """
        data: {name: moons, n_samples: 60}
        model: {family: custom, factory: "mine.py:noisy"}
        train: {steps: 40, batch_size: 10, optimizer: adam, lr: 0.01}
        seeds: 2
        """,
    )
    run = train(config, tmp_path / "runs")
    trials = read(run, "trials")
    assert set(trials["status"]) == {"completed"}
    assert (trials["final_eval_metric"] > 0.7).all()
    assert (read(run, "layers")["weight_grad_norm"] > 0).all()
    pd.testing.assert_frame_equal(read(train(config, tmp_path / "again"), "layers"), read(run, "layers"))


@pytest.mark.parametrize("data", ["moons, n_samples: 137", "multilabel, n_samples: 137"])
def test_a_seed_has_the_same_rows_alone_and_among_others_with_any_number_of_workers(
    data: str, folder: Path, tmp_path: Path
) -> None:
    """Width 33, batches of 25, one or five outputs; dropout, which is trained one by one, beside the others."""
    config = write_config(
        folder,
        f"""
        data: {{name: {data}}}
        model: {{family: custom}}
        train: {{steps: 8, batch_size: 25, optimizer: adam, lr: 0.01}}
        record: {{every: 5, probe: 51}}
        seeds: 7
        sweep:
          include:
            - {{model.factory: "mine.py:deep", model.kwargs.activation: Softplus}}
            - {{model.factory: "mine.py:deep", model.kwargs.norm: true, train.lr: 0.001}}
            - {{model.factory: "mine.py:deep", model.kwargs.norm: true}}
            - {{model.factory: "mine.py:noisy"}}
        """,
    )
    whole = train(config, tmp_path / "one", "--workers", "1")
    trials = read(whole, "trials")
    assert set(trials["status"]) == {"completed"}
    assert len(trials) == 28
    same_runs(whole, train(config, tmp_path / "two", "--workers", "2"))
    for seed in (0, 4, 6):
        alone = train(config, tmp_path / str(seed), "--set", f"seeds=[{seed}]")
        ids = set(read(alone, "trials")["trial_id"])
        assert len(ids) == 4
        for table in KEYS:
            rows = read(whole, table)
            same(rows[rows["trial_id"].isin(ids)].reset_index(drop=True), read(alone, table))


def test_a_sweep_that_is_continued_has_the_rows_of_one_that_was_not_interrupted(folder: Path, tmp_path: Path) -> None:
    text = """
        data: {name: moons, n_samples: 137}
        model: {family: custom, factory: "mine.py:deep", kwargs: {norm: true}}
        train: {steps: 150, batch_size: 25, lr: 0.01}
        record: {every: 50, probe: 51}
        seeds: 20
        """
    config = write_config(folder, text)
    undisturbed = train(config, tmp_path / "undisturbed")
    process = start("run", config, "--out", tmp_path / "runs", "--workers", "1")
    wait_for(lambda: len(parts(tmp_path / "runs")) > 0, process, 60)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    run = only_run(tmp_path / "runs")
    before = read(run, "trials")
    assert 0 < len(before) < 20
    assert len(parts(tmp_path / "runs")) > 0
    train(config, tmp_path / "runs")
    same_runs(undisturbed, run)


def test_without_a_torch_activation_units_are_not_judged(folder: Path, tmp_path: Path) -> None:
    config = write_config(
        folder,
        """
        data: {name: moons, n_samples: 60}
        model: {family: custom, factory: "mine.py:without_activation"}
        train: {steps: 2, batch_size: 10}
        seeds: 1
        """,
    )
    layers = read(train(config, tmp_path / "runs"), "layers")
    assert layers["layer"].tolist() == [1, 2, 1, 2]
    assert layers["dead_units"].isna().all()
    assert layers["saturated_fraction"].isna().all()
    assert (layers["weight_grad_norm"] > 0).all()


def test_custom_models_say_nothing_of_torch_s_inner_life(folder: Path, tmp_path: Path) -> None:
    config = write_config(folder, "data: {name: moons}\nmodel: {family: custom, factory: 'mine.py:noisy'}\nseeds: 1\n")
    answer = invoke("run", config, "--out", tmp_path / "runs", "--set", "train.steps=3")
    assert answer.code == 0
    assert "Warning" not in answer.stderr


def test_custom_data_with_swept_arguments(folder: Path, tmp_path: Path) -> None:
    config = write_config(
        folder,
        """
        data: {name: custom, factory: "mine.py:rings", kwargs: {count: 60}}
        model: {depth: 1, width: 8}
        train: {steps: 200, batch_size: 30, lr: 0.01, optimizer: adam}
        seeds: 2
        sweep: {grid: {data.kwargs.gap: [0.0, 2.0]}}
        """,
    )
    trials = read(train(config, tmp_path / "runs"), "trials")
    assert set(trials["data"]) == {"custom"}
    by_gap = trials.groupby("data.kwargs.gap")["final_eval_metric"].min()
    assert by_gap[2.0] > 0.9 > by_gap[0.0]


def test_npz_is_read_relative_to_the_config(folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    x, y = random.standard_normal((30, 3)), random.standard_normal((30, 2))
    np.savez(folder / "d.npz", x_train=x[:20], y_train=y[:20], x_eval=x[20:], y_eval=y[20:])
    config = write_config(
        folder,
        """
        data: {name: npz, path: d.npz, task: regression, standardize: false}
        model: {depth: 1, width: 3, activation: linear}
        train: {steps: 1, batch_size: 64, lr: 0.0}
        seeds: 1
        """,
    )
    run = train(config, tmp_path / "runs")
    (trial,) = read(run, "trials").to_dict("records")
    assert trial["parameters"] == 3 * 4 + 2 * 4
    assert trial["final_eval_metric"] < 1
    assert read(run, "layers")["units"].tolist() == [3, 2]
    assert read(run, "steps")["train_loss"].tolist() == pytest.approx([trial["final_train_loss"]], rel=1e-6)


@pytest.mark.parametrize(("built_in", "own"), [("tanh", "my_tanh"), ("relu", "my_relu")])
def test_a_user_s_activation_measures_as_the_built_in_one(
    built_in: str, own: str, folder: Path, tmp_path: Path
) -> None:
    common = """
        data: {name: moons, n_samples: 60}
        model: {depth: 3, width: 5}
        train: {steps: 5, batch_size: 10}
        record: {every: 2}
        seeds: 2
        """
    runs = {}
    for name in (built_in, f"mine.py:{own}"):
        config = write_config(folder, common)
        runs[name] = train(config, tmp_path / name.replace(":", "-"), "--set", f"model.activation='{name}'")
    mine, theirs = runs[f"mine.py:{own}"], runs[built_in]
    assert set(read(mine, "trials")["activation"]) == {f"mine.py:{own}"}
    for table, keys in (("layers", ["seed", "step", "layer"]), ("steps", ["seed", "step"])):
        frames = []
        for run in (mine, theirs):
            rows = read(run, table).merge(read(run, "trials")[["trial_id", "seed"]]).sort_values(keys)
            frames.append(rows.drop(columns="trial_id").reset_index(drop=True))
        # Measured in float64 and in float32: a quantile near 0 differs by what the layer's size is rounded to.
        spread = [name for name in frames[0] if name.startswith("activation_q")]
        pd.testing.assert_frame_equal(*(rows[spread] for rows in frames), rtol=1e-6, atol=1e-6)
        pd.testing.assert_frame_equal(*(rows.drop(columns=spread) for rows in frames), rtol=1e-6, atol=1e-9)
    for name in ("predicted_gradient_decay", "dead_fraction", "saturated_fraction", "gradient_decay"):
        one, two = (read(run, "trials").sort_values("seed")[name].tolist() for run in (mine, theirs))
        assert one == pytest.approx(two, rel=1e-6, nan_ok=True), name


def test_what_the_user_s_code_prints_stays_out_of_stdout(folder: Path, tmp_path: Path) -> None:
    code = """
        from torch import nn

        print("imported")

        class Net(nn.Linear):
            def forward(self, x):
                print("forward")
                return super().forward(x)

        def make(in_features, out_features):
            print("made")
            return Net(in_features, out_features)
        """
    (folder / "loud.py").write_text(textwrap.dedent(code))
    config = write_config(
        folder,
        """
        data: {name: moons, n_samples: 60}
        model: {family: custom, factory: "loud.py:make"}
        train: {steps: 2, batch_size: 10}
        seeds: 2
        sweep: {grid: {train.lr: [0.1, 0.2]}}
        """,
    )
    answer = gradlab("run", config, "--out", tmp_path / "runs", "--json", "--workers", "2")
    assert answer.code == 0, answer.stderr
    assert len(json.loads(answer.stdout)["groups"]) == 2
    assert "made" in answer.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_trial_that_calls_sys_exit_is_a_failed_trial(workers: str, folder: Path, tmp_path: Path) -> None:
    code = """
        import sys
        from torch import nn

        class Net(nn.Linear):
            def forward(self, x):
                return sys.exit(3) if self.training else super().forward(x)

        def make(in_features, out_features, leaves):
            return (Net if leaves else nn.Linear)(in_features, out_features)
        """
    (folder / "leaving.py").write_text(textwrap.dedent(code))
    config = write_config(
        folder,
        """
        data: {name: moons, n_samples: 60}
        model: {family: custom, factory: "leaving.py:make"}
        train: {steps: 2, batch_size: 10}
        seeds: 1
        sweep: {grid: {model.kwargs.leaves: [true, false]}}
        """,
    )
    trials = read(train(config, tmp_path / "runs", "--workers", workers, code=4), "trials")
    assert dict(zip(trials["model.kwargs.leaves"], trials["status"], strict=True)) == {
        True: "failed",
        False: "completed",
    }


def test_code_that_changed_since_is_told(folder: Path, tmp_path: Path) -> None:
    """Trials are known by their settings, not by what a file holds: so kept ones may be of another model."""
    config = write_config(
        folder,
        """
        data: {name: moons, n_samples: 60}
        model: {family: custom, factory: "mine.py:noisy"}
        train: {steps: 2, batch_size: 10}
        seeds: 1
        """,
    )
    out, mine = tmp_path / "runs", folder / "mine.py"
    run, told = ("run", config, "--out", out), "mine.py changed since"
    assert told not in gradlab(*run).stderr
    assert told not in gradlab(*run).stderr
    mine.write_text(mine.read_text() + "# another model\n")
    assert told in gradlab(*run).stderr
    assert told in gradlab(*run).stderr
    assert told not in gradlab(*run, "--fresh").stderr
    assert told not in gradlab(*run).stderr
