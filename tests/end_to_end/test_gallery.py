"""`gradlab gallery`: lists, reproduces, and says so where a network does not do what is claimed of it."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.commands import invoke

ROOT = Path(__file__).parents[2]
PAPERS = ROOT / "configs" / "papers"
NAMES = sorted(path.name.removesuffix(".expect.yaml") for path in PAPERS.glob("*.expect.yaml"))

CONFIG = """
    name: small
    data: {name: moons, n_samples: 60}
    model: {width: 16, depth: 8, activation: relu}
    train: {steps: 1, batch_size: 10}
    seeds: 6
    sweep: {grid: {model.init: [xavier_normal, he_normal]}}
    """
EXPECTED: dict[str, Any] = {
    "paper": "Somebody 1999",
    "source": "A title",
    "shows": "rectifiers need twice the variance",
    "claims": "So they do.",
    "here": "The same.",
    "figure": "gradient-by-layer",
    "seconds": {"quick": 1, "full": 2},
    "quick": {"seeds": 2},
    "statements": [
        {"says": "It grows.", "measure": "gradient_decay", "where": "init == 'he_normal'", "at_least": 0.8},
        {"says": "It shrinks.", "measure": "gradient_decay", "where": "init == 'xavier_normal'", "at_most": 0.8},
    ],
}


def gallery_of(folder: Path, *claims: dict[str, Any]) -> Path:
    """A gallery of one small exhibit, some of its statements changed."""
    folder.mkdir()
    statements = [
        {"because": "it must", **EXPECTED["statements"][place], **claim} for place, claim in enumerate(claims)
    ]
    (folder / "small.yaml").write_text(CONFIG)
    (folder / "small.expect.yaml").write_text(yaml.safe_dump(EXPECTED | {"statements": statements}))
    return folder


def test_the_list() -> None:
    answer = invoke("gallery")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.stdout.splitlines()[2:]] == NAMES
    listed = json.loads(invoke("gallery", "--json").stdout)["exhibits"]
    assert [one["name"] for one in listed] == NAMES
    assert all(one["paper"] and one["shows"] and one["seconds"]["quick"] > 0 for one in listed)


def test_reproduced(tmp_path: Path) -> None:
    folder = gallery_of(tmp_path / "own", {}, {})
    answer = invoke("gallery", "small", "--folder", folder)
    assert answer.code == 0, answer.stderr
    assert answer.stdout.count("  reproduced: It ") == 2
    assert "2 of 2 statements reproduced" in answer.stdout
    again = invoke("gallery", "--all", "--folder", folder, "--json", "--quiet")
    assert again.stderr == ""
    told = json.loads(again.stdout)
    (one,) = told["exhibits"]
    assert (told["statements"], told["reproduced"], one["trained_seconds"]) == (2, 2, 0)
    assert [len(finding["figures"]) for finding in one["statements"]] == [1, 1]
    assert one["statements"][0]["figures"][0]["trials"] == 6
    quick = json.loads(invoke("gallery", "small", "--quick", "--folder", folder, "--json").stdout)
    assert quick["exhibits"][0]["statements"][0]["figures"][0]["trials"] == 2
    assert quick["exhibits"][0]["path"] != one["path"]


def test_not_reproduced_is_exit_code_1(tmp_path: Path) -> None:
    swapped = {"where": "init == 'xavier_normal'"}, {"where": "init == 'selu'"}
    answer = invoke("gallery", "small", "--folder", gallery_of(tmp_path / "own", *swapped))
    assert answer.code == 1
    assert answer.stdout.count("NOT reproduced") == 2
    assert "nothing: no trial has init 'selu'" in answer.stdout
    assert "0 of 2 statements reproduced" in answer.stdout


def test_the_page(tmp_path: Path) -> None:
    folder = gallery_of(tmp_path / "own", {"says": "It | <b>grows</b>."}, {})
    answer = invoke("gallery", "small", "--folder", folder, "--page", "docs/gallery.md")
    assert answer.code == 0, answer.stderr
    text = Path("docs/gallery.md").read_text()
    assert r"| It \| \<b\>grows\</b\>. |" in text
    assert "](gallery/small.png)" in text
    assert Path("docs/gallery/small.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["he-2016"], "he-2016: nothing of that name in the gallery; did you mean he-2015"),
        (["--all", "he-2015"], "--all and names: give one of the two"),
        (["he-2015", "--page", "page.html"], "--page page.html: name a file that ends in .md"),
        (["--folder", "nowhere"], "no file in it ends in .expect.yaml"),
    ],
)
def test_usage_errors(arguments: Sequence[str], told: str) -> None:
    answer = invoke("gallery", *arguments)
    assert answer.code == 2
    assert told in answer.stderr
    assert answer.stdout == ""


def test_a_failed_trial_is_exit_code_4(tmp_path: Path) -> None:
    folder = gallery_of(tmp_path / "own", {"measure": "status == 'failed'", "where": None, "at_least": 0.5}, {})
    (folder / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        if self.training and len(x) == 8:\n"
        "            raise RuntimeError('out of luck')\n"
        "        return super().forward(x)\n"
        "def make(in_features, out_features):\n"
        "    return Net(nn.Linear(in_features, out_features))\n"
    )
    (folder / "small.yaml").write_text(
        """
        data: {name: moons, n_samples: 40}
        model: {family: custom, factory: "net.py:make"}
        train: {steps: 1, batch_size: 8}
        seeds: 2
        """
    )
    answer = invoke("gallery", "small", "--folder", folder)
    assert answer.code == 4
    assert "out of luck" in answer.stderr
    assert "1 of 2 statements reproduced" in answer.stdout
    refused = invoke("gallery", "small", "--folder", folder, "--no-custom-code")
    assert refused.code == 2
    assert "net.py:make" in refused.stderr


WRONG = [
    ("he-2015", ".yaml", ("activation: relu", "activation: tanh"), [0]),
    ("he-2015", ".expect.yaml", ("'xavier_normal'", "'he_normal'"), [0, 1]),
    ("glorot-2010-variance", ".yaml", ("activation: tanh", "activation: relu"), [0, 4]),
    ("klambauer-2017", ".yaml", ("init: lecun_normal", "init: he_normal"), [1, 3]),
    ("hanin-rolnick-2018", ".yaml", ("activation: relu", "activation: linear"), [0, 1]),
    ("lu-2019", ".yaml", ("activation: relu", "activation: leaky_relu"), [1, 4]),
]
SMALL = {"train.steps": 1}
SEEDS = {"klambauer-2017": 1, "hanin-rolnick-2018": 50, "lu-2019": 40}


@pytest.mark.slow  # trains nothing, but draws some thousands of networks
@pytest.mark.parametrize(("name", "file", "swap", "statements"), WRONG, ids=[f"{one[0]}{one[1]}" for one in WRONG])
def test_wrong_networks_are_found_out(
    tmp_path: Path, name: str, file: str, swap: tuple[str, str], statements: list[int]
) -> None:
    """Statements about untrained networks that hold of the right ones, and don't of others."""

    def reproduced(folder: Path) -> list[bool]:
        expected = folder / f"{name}.expect.yaml"
        known = yaml.safe_load(expected.read_text())
        expected.write_text(yaml.safe_dump(known | {"quick": {**SMALL, "seeds": SEEDS.get(name, 3)}}))
        answer = invoke("gallery", name, "--quick", "--folder", folder, "--out", folder / "runs", "--json")
        found = json.loads(answer.stdout)["exhibits"][0]["statements"]
        assert answer.code == (0 if all(one["reproduced"] for one in found) else 1)
        return [found[place]["reproduced"] for place in statements]

    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for folder in (right, wrong):
        folder.mkdir()
        for ending in (".yaml", ".expect.yaml"):
            shutil.copy(PAPERS / f"{name}{ending}", folder)
    path = wrong / f"{name}{file}"
    text, (old, new) = path.read_text(), swap
    assert old in text
    swapped = text.replace(old, "\0").replace(new, old).replace("\0", new)
    path.write_text(swapped)
    assert all(reproduced(right))
    assert not any(reproduced(wrong))


@pytest.mark.slow  # draws two dozen networks and trains none; all of the gallery is `soak`
def test_a_quick_exhibit(tmp_path: Path) -> None:
    answer = invoke("gallery", "glorot-2010-variance", "--quick", "--out", tmp_path)
    assert answer.code == 0, answer.stdout


@pytest.mark.soak
def test_the_whole_gallery_quick(tmp_path: Path) -> None:
    answer = invoke("gallery", "--all", "--quick", "--out", tmp_path)
    assert answer.code == 0, answer.stdout


def test_the_wheel_takes_the_gallery_along() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["force-include"] == {"configs/papers": "gradlab/papers"}


def test_the_page_of_the_documentation_is_about_this_gallery() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text()
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == NAMES
    for name in NAMES:
        assert (ROOT / "docs" / "gallery" / f"{name}.png").stat().st_size < 150_000
        assert f"gallery/{name}.png" in text
