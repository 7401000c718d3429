"""What is wrong with a config, where, and in which words; all of it at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gradlab.config.load import MAX_BYTES, LoadedConfig, load
from gradlab.config.schema import Experiment
from gradlab.errors import ConfigError

Load = Callable[..., LoadedConfig]
Problems = Callable[..., list[tuple[str, str]]]

CUSTOM = "model: {family: custom, factory: 'a.py:f'}\n"

BAD = [
    # Keys: at the key, with its whole path.
    ("model: {dept: 3}", "1:9", "unknown key 'model.dept'; did you mean 'depth'?"),
    ("modle: {}", "1:1", "unknown key 'modle'; did you mean 'model'?"),
    ("depth: 3", "1:1", "unknown key 'depth'; did you mean 'model.depth'?"),
    ("model:\n  lr: 3", "2:3", "unknown key 'model.lr'; did you mean 'train.lr'?"),
    ("zzz: 3", "1:1", "unknown key 'zzz'"),
    ("sweep:\n  grod: {}", "2:3", "unknown key 'sweep.grod'; did you mean 'grid'?"),
    ("seeds: 2\nmodel: {depth: 2}\nseeds: 3", "3:1", "duplicate key 'seeds'"),
    # Values: at the value.
    ("model:\n  depth: 0", "2:10", "model.depth must be at least 1 (it is 0)"),
    ("model: {depth: 10001}", "1:16", "model.depth must be at most 10000 (it is 10001)"),
    ("model: {depth: 2.0}", "1:16", "whole number (it is 2.0); write it as 2"),
    ("model: {depth: true}", "1:16", "model.depth must be a whole number (it is true)"),
    ("model: {depth: '3'}", "1:16", "without the quotes"),
    ("model: {depth: [3]}", "1:16", "model.depth must be a whole number (it is a list)"),
    ("model: {residual: yes}", "1:19", "true or false (it is 'yes'); in YAML 1.2"),
    ("model: {family: mlpp}", "1:17", "did you mean 'mlp'?"),
    ("model: {family: [mlp]}", "1:17", "model.family must be one of"),
    ("model: {activation: relo}", "1:21", "model.activation 'relo' must be one of linear, sigmoid"),
    ("model: {activation: relo}", "1:21", "did you mean 'relu'?"),
    ("model: {activation: ReLU}", "1:21", "did you mean 'relu'?"),
    ("model: {activation: 3}", "1:21", "model.activation must be one of"),
    ("model: {activation: {name: rlu}}", "1:28", "did you mean 'relu'?"),
    ("model: {activation: {negative_slope: 1}}", "1:21", "model.activation needs a name"),
    ("model: {activation: {name: leaky_relu, slope: 1}}", "1:40", "did you mean 'negative_slope'?"),
    ("model: {activation: {name: elu, alpha: x}}", "1:40", "model.activation.alpha must be a finite number"),
    ("model: {activation: {name: hardtanh, min_val: 2}}", "1:47", "must be below max_val"),
    ("model: {init: {name: normal, sigma_w: -1}}", "1:39", "model.init.sigma_w must be at least 0 (it is -1)"),
    ("model: {init: 'a.py:f'}", "1:15", "model.init 'a.py:f' must be one of"),
    ("model: 3", "1:8", "model must be a mapping (it is 3)"),
    ("model:", "1:7", "model must be a mapping (it is null)"),
    ("train: {lr: -0.1}", "1:13", "train.lr must be at least 0 (it is -0.1)"),
    ("train: {lr: .inf}", "1:13", "train.lr must be a finite number"),
    ("train: {lr: .nan}", "1:13", "train.lr must be"),
    ("data: {name: digit}", "1:14", "did you mean 'digits'?"),
    ("data: {name: []}", "1:14", "data.name must be one of"),
    ("data: {name: npz, task: binary, path: ''}", "1:39", "data.path must not be empty"),
    ("data: {name: custom, factory: f}", "1:31", "file.py:function"),
    ("data: {name: moons, noise: -1}", "1:28", "data.noise must be at least 0"),
    ("record: {every: 0}", "1:17", "record.every must be at least 1"),
    ("diagnosis: {dying: 2}", "1:20", "diagnosis.dying must be at most 1"),
    ("diagnosis: {vanishing: 2, exploding: 1}", "1:24", "must be below diagnosis.exploding"),
    # Names of run directories.
    ("name: ../x", "1:7", "name '../x' must be 1 to 100 letters"),
    ("name: a/b", "1:7", "must be 1 to 100 letters"),
    ('name: "a\\nb"', "1:7", "must be 1 to 100 letters"),
    ('name: "a\\n"', "1:7", "must be 1 to 100 letters"),
    ("name: .hidden", "1:7", "must be 1 to 100 letters"),
    ("name: ''", "1:7", "must be 1 to 100 letters"),
    (f"name: {'x' * 101}", "1:7", "must be 1 to 100 letters"),
    ("name: 12", "1:7", "name must be text (it is 12); put it in quotes"),
    # Options that are missing or that nothing reads.
    ("seeds: 1\ndata: {name: npz, task: binary}", "2:1", "data.name 'npz' needs data.path"),
    ("data: {name: npz}", "1:1", "data.name 'npz' needs data.path and data.task"),
    ("model: {family: custom}", "1:1", "model.family 'custom' needs model.factory"),
    ("data: {noise: 0.1}", "1:8", "data.noise has no effect: data set 'digits'"),
    ("sweep: {grid: {data.noise: [0.1]}}", "1:16", "data.noise has no effect"),
    ("data: {name: npz, path: x, task: binary, split_seed: 1}", "1:42", "data.split_seed has no effect"),
    ("model: {factory: 'a.py:f'}", "1:9", "model.factory has no effect"),
    ("model: {kwargs: {x: 1}}", "1:9", "model.kwargs has no effect"),
    ("sweep: {grid: {model.kwargs.x: [1]}}", "1:16", "model.kwargs.x has no effect"),
    ("model: {family: custom, factory: 'a.py:f', depth: 3}", "1:44", "model.depth has no effect"),
    (CUSTOM + "sweep: {grid: {model.init.sigma_w: [1]}}", "2:16", "model.init.sigma_w has no effect"),
    ("model: {norm: batch}\ntrain: {batch_size: 1}", "2:21", "at least 2 where model.norm is 'batch'"),
    # Seeds.
    ("seeds: 0", "1:8", "seeds must be at least 1"),
    ("seeds: -1", "1:8", "seeds must be at least 1"),
    ("seeds: []", "1:8", "empty list"),
    ("seeds: ~", "1:8", "seeds must be a count or a list"),
    ("seeds: true", "1:8", "seeds must be a count or a list"),
    ("seeds: 2.0", "1:8", "seeds must be a count or a list"),
    ("seeds: [1, -1]", "1:12", "seeds[1] must be at least 0"),
    ("seeds: [1, 2, 1]", "1:15", "seeds[2] repeats the seed 1 of seeds[0]"),
    ("seeds: [x]", "1:9", "seeds[0] must be a whole number"),
    ("seeds: 2000000000", "1:8", "seeds must be at most 1,000,000"),
    # The sweep's keys.
    ("sweep: {grid: {depth: [1]}}", "1:16", "unknown key 'depth' in sweep.grid; did you mean 'model.depth'?"),
    ("sweep: {grid: {model.dept: [1]}}", "1:16", "did you mean 'model.depth'?"),
    ("sweep: {zip: [{model.dept: [1]}]}", "1:16", "in sweep.zip[0]; did you mean 'model.depth'?"),
    ("sweep: {exclude: [{model.dept: 1}]}", "1:20", "in sweep.exclude[0]; did you mean 'model.depth'?"),
    ("sweep: {include: [{model.dept: 1}]}", "1:20", "in sweep.include[0]; did you mean 'model.depth'?"),
    ("sweep: {grid: {seeds: [1]}}", "1:16", "'seeds' in sweep.grid cannot be swept"),
    ("sweep: {grid: {name: [a]}}", "1:16", "'name' in sweep.grid cannot be swept"),
    ("sweep: {grid: {diagnosis.dying: [0.1]}}", "1:16", "cannot be swept"),
    ("sweep: {grid: {model: [1]}}", "1:16", "whole section"),
    ("sweep: {grid: {model.depth.x: [1]}}", "1:16", "unknown key 'model.depth.x'"),
    ("sweep: {grid: {model.activation.slope: [1]}}", "1:16", "did you mean 'model.activation.negative_slope'?"),
    ("sweep: {grid: {model.kwargs.: [1]}}", "1:16", "unknown key 'model.kwargs.'"),
    # The sweep's lists.
    ("sweep: {grid: {model.depth: []}}", "1:29", "sweep.grid.model.depth is an empty list"),
    ("sweep: {grid: {model.depth: 3}}", "1:29", "sweep.grid.model.depth must be a list (it is 3)"),
    ("sweep: {grid: {model.depth: }}", "1:28", "sweep.grid.model.depth must be a list (it is null)"),
    ("sweep: {grid: []}", "1:15", "sweep.grid must be a mapping"),
    ("sweep: {zip: {}}", "1:14", "sweep.zip must be a list"),
    ("sweep: {zip: [3]}", "1:15", "sweep.zip[0] must be a mapping"),
    ("sweep: {zip: [{}]}", "1:15", "sweep.zip[0] is an empty mapping"),
    ("sweep: {include: [{}]}", "1:19", "sweep.include[0] is an empty mapping"),
    ("sweep: {exclude: [{}]}", "1:19", "sweep.exclude[0] is an empty mapping"),
    ("sweep: {exclude: [{model.depth: []}]}", "1:33", "sweep.exclude[0].model.depth is an empty list"),
    ("sweep: {zip: [{model.depth: [1, 2], train.lr: [0.1]}]}", "1:47", "has 1 values where model.depth has 2"),
    ("sweep:\n  zip: [{train.lr: [1]}]\n  grid: {train.lr: [2]}", "3:10", "train.lr is swept twice"),
    ("sweep: {zip: [{train.lr: [1]}, {train.lr: [2]}]}", "1:33", "train.lr is swept twice"),
    # The sweep's values: as their fields, each at its own place.
    ("sweep:\n  grid:\n    model.depth: [2, 0]", "3:22", "model.depth must be at least 1 (it is 0)"),
    ("sweep:\n  grid:\n    model.depth:\n      - 2\n      - x", "5:9", "model.depth must be a whole number"),
    ("sweep: {zip: [{model.norm: [none, bach]}]}", "1:35", "did you mean 'batch'?"),
    ("sweep: {exclude: [{model.depth: [1, 0]}]}", "1:37", "model.depth must be at least 1"),
    ("sweep: {include: [{model.depth: 0}]}", "1:33", "model.depth must be at least 1"),
    ("sweep: {include: [{model.depth: [2]}]}", "1:33", "model.depth must be a whole number (it is a list)"),
    ("sweep: {grid: {model.activation: [{name: elu, alpa: 1}]}}", "1:47", "did you mean 'alpha'?"),
    (
        "sweep: {grid: {model.init: [normal], model.init.sigma_w: [-1]}}",
        "1:59",
        "model.init.sigma_w must be at least 0",
    ),
    # Settings that are wrong only together.
    ("sweep: {grid: {data.name: [digits, npz]}}", "1:16", "data.name 'npz' needs data.path and data.task"),
    ("sweep: {grid: {model.init.sigma_w: [1]}}", "1:16", "pytorch_default has no parameter 'sigma_w'"),
    ("sweep: {include: [{model.depth: 2}, {model.init.sigma_w: 1}]}", "1:37", "has no parameter 'sigma_w'"),
    ("model: {norm: batch}\nsweep: {grid: {train.batch_size: [1, 2]}}", "2:16", "at least 2 where model.norm"),
    ("train: {batch_size: 1}\nsweep: {zip: [{model.norm: [none, batch]}]}", "2:16", "at least 2 where model.norm"),
    (
        "data: {name: npz, task: binary}\nsweep: {grid: {data.path: [a]}, include: [{model.depth: 3}]}",
        "2:43",
        "data.name 'npz' needs data.path",
    ),
    ("sweep: {grid: {model.depth: [1]}, exclude: [{model.depth: 1}]}", "1:35", "takes out every point"),
]


@pytest.mark.parametrize(("text", "place", "message"), BAD)
def test_one_problem_at_its_place(problems: Problems, text: str, place: str, message: str) -> None:
    ((found_place, found_message),) = problems(text)
    assert found_place == place
    assert message in found_message


WHOLE_FILE = [
    (b"", "1:1", "empty"),
    (b"# nothing\n", "1:1", "empty"),
    (b"---\n", "2:1", "empty"),
    (b"[1]", "1:1", "a config is a mapping (it is a list)"),
    (b"model", "1:1", "a config is a mapping (it is 'model')"),
    (b"!!python/object:os.system []", "1:1", "tag"),
    (b"a: 1\nb\xff: 2", "2:2", "not UTF-8"),
    ("a: 1".encode("utf-16"), "1:1", "not UTF-8"),
    (b"seeds: 1\x00", "1:9", "U+0000"),
    (b"#" * (MAX_BYTES + 1), "1:1", "larger than"),
]


@pytest.mark.parametrize(("content", "place", "message"), WHOLE_FILE)
def test_files_that_hold_no_config(tmp_path: Path, content: bytes, place: str, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert problem.place == f"{file}:{place}"
    assert message in problem.message


@pytest.mark.parametrize(
    ("name", "message"), [("none.yaml", "no such file"), (".", "folder"), ("a\0b", "cannot be read")]
)
def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        load(Path(name))


def test_all_problems_of_all_kinds_at_once_in_order(problems: Problems) -> None:
    text = """\
name: a/b
model:
  depth: 0
  depht: 3
  activation: {name: elu, alpha: x, beta: 2}
train: {lr: !!python/none 3, batch_size: 1, batch_size: 2}
seeds: [1, 1]
data: {name: npz}
record: {every: x}
sweep:
  grid:
    depth: [1]
    model.norm: [bach, none]
  include:
    - {}
"""
    found = problems(text, "train.steps=0", "nonsense")
    assert [place for place, _ in found] == [
        "1:7",
        "3:10",
        "4:3",
        "5:34",
        "5:37",
        "6:13",
        "6:45",
        "7:12",
        "8:1",
        "9:17",
        "12:5",
        "13:18",
        "15:7",
        "--set train.steps=0",
        "--set nonsense",
    ]


def test_settings_wrong_together_are_found_beside_other_problems(problems: Problems) -> None:
    text = "train: {lr: x}\nsweep: {grid: {model.init.sigma_w: [1, 2]}}"
    assert [place for place, _ in problems(text)] == ["1:13", "2:16"]


def test_a_huge_grid_is_refused_from_its_counts(problems: Problems) -> None:
    numbers = "&n [" + ", ".join(map(str, range(1, 101))) + "]"
    text = f"sweep: {{grid: {{model.depth: {numbers}, model.width: *n, train.steps: *n}}}}"
    started = time.perf_counter()
    ((place, message),) = problems(text)
    assert time.perf_counter() - started < 1
    assert place == "1:9"
    assert "5,000,000 trials (1,000,000 points x 5 seeds)" in message


def test_a_grid_of_thousands_of_lists_is_refused(problems: Problems) -> None:
    lists = ", ".join(f"model.kwargs.x{i}: [1, 2]" for i in range(5000))
    (problem,) = problems(CUSTOM + f"sweep: {{grid: {{{lists}}}}}")
    assert "over " in problem[1]


GOOD = [
    "data: {name: moons, noise: 0}",
    "data: {noise: 0.2}\nsweep: {grid: {data.name: [digits, moons]}}",
    "data: {name: npz, task: binary}\nsweep: {grid: {data.path: [a.npz, b.npz]}}",
    "data: {task: binary}\nsweep: {zip: [{data.name: [npz, digits], data.path: [a.npz, ~]}]}",
    "model: {family: custom}\nsweep: {grid: {model.factory: ['a.py:f', 'pkg.b:g']}}",
    "model: {depth: 3, factory: 'a.py:f', kwargs: {x: 1}}\nsweep: {grid: {model.family: [mlp, custom]}}",
    "model: {activation: 'my file.py:phi', norm: batch, family: cnn}\ntrain: {batch_size: 1}",
    "model: {norm: batch}\nsweep: {grid: {train.batch_size: [1, 2]}, exclude: [{train.batch_size: 1}]}",
    "sweep: {grid: {model.activation.negative_slope: [0.1, 0.2], model.activation: [leaky_relu]}}",
    "sweep: {grid: {model.activation.max_val: [3], model.activation.min_val: [2], model.activation: [hardtanh]}}",
    "sweep: {grid: {}, zip: [], exclude: [], include: []}",
    "seeds: [9223372036854775807, 0]",
    "\ufeffseeds: 1",
    "train: {lr: 1}",
    "model: {activation: {name: elu, alpha: 1e-3}}",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_configs(load_text: Load, text: str) -> None:
    assert load_text(text).trials


@pytest.mark.parametrize(
    ("file", "name"), [("depth study.yaml", "experiment"), ("depth-2.v1.yaml", "depth-2.v1"), (".x.yaml", "experiment")]
)
def test_the_name_comes_from_the_file(tmp_path: Path, file: str, name: str) -> None:
    path = tmp_path / file
    path.write_text("seeds: 1")
    loaded = load(path)
    assert loaded.experiment.name == name
    assert loaded.directory == tmp_path
    path.write_text("name: mine")
    assert load(path).experiment.name == "mine"


def test_what_the_file_leaves_out_is_the_default(load_text: Load) -> None:
    assert load_text("seeds: 5").experiment == Experiment(name="c")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("sweep: {grid: {model.depth: [2, 2]}}", "5 repeated trials"),
        ("sweep: {grid: {data.name: [digits, moons], data.noise: [0.1, 0.2]}}", "5 repeated trials"),
        ("sweep: {exclude: [{model.depth: 3}]}", "c.yaml:1:19: sweep.exclude[0] matches no point"),
        ("train: {momentum: 0.5}", "c.yaml:1:9: train.momentum has no effect"),
    ],
)
def test_notes(load_text: Load, text: str, note: str) -> None:
    (found,) = load_text(text).notes
    assert note in found


def test_a_large_sweep_loads_in_seconds_and_a_small_one_at_once(load_text: Load) -> None:
    numbers = ", ".join(map(str, range(1, 101)))
    large = (
        f"seeds: 2\nsweep: {{grid: {{model.depth: [{numbers}], model.width: [{numbers}], train.lr: [1, 2, 3, 4, 5]}}}}"
    )
    started = time.perf_counter()
    assert len(load_text(large).trials) == 100_000
    assert time.perf_counter() - started < 10
    started = time.perf_counter()
    assert len(load_text("sweep: {grid: {model.depth: [1, 2]}}").trials) == 10
    assert time.perf_counter() - started < 0.1


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seeds: 1")
    program = (
        "import sys; from pathlib import Path; from gradlab.config.load import load; load(Path(sys.argv[1]));"
        "print({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "c.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])  # noqa: S603
    assert done.stdout.strip() == "set()"
