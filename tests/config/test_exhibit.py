"""The shipped gallery loads in both sizes; what is wrong with a file of statements is told with its place."""

import textwrap
from pathlib import Path

import pytest

from gradlab.analysis.catalogue import statistics_of_trials
from gradlab.analysis.where.condition import parse_where
from gradlab.config.exhibit import Exhibit, exhibits, read_expectation
from gradlab.config.load import load
from gradlab.errors import ConfigError, UsageError
from gradlab.store.tables import TRIALS

PAPERS = Path(__file__).parents[2] / "configs" / "papers"
SHIPPED = exhibits(PAPERS)

GOOD = """\
paper: Somebody 1999
source: A title
shows: that it works
claims: as much
here: otherwise
figure: gradient-by-layer
seconds: {quick: 1, full: 2}
statements:
  - says: It works.
    measure: gradient_decay
    at_least: 1
    because: it must
"""


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("exhibit", SHIPPED, ids=lambda exhibit: exhibit.name)
def test_shipped_exhibits_load(exhibit: Exhibit, quick: bool) -> None:
    loaded = load(exhibit.config, exhibit.overrides(quick))
    assert not [note for note in loaded.notes if "no longer swept" in note]
    assert loaded.experiment.name == exhibit.name
    known = {*TRIALS, *statistics_of_trials(), *loaded.experiment.sweep.paths()}
    for statement in exhibit.expectation.statements:
        texts = [statement.measure, statement.where, statement.over, statement.minus, statement.along]
        names = {name for text in texts if text is not None for name in parse_where(text).names}
        assert names | set(statement.by) <= known


def test_quick_is_smaller() -> None:
    for exhibit in SHIPPED:
        quick, full = (load(exhibit.config, exhibit.overrides(size)).trials for size in (True, False))
        assert sum(trial.train.steps for trial in quick) < sum(trial.train.steps for trial in full)
        assert exhibit.expectation.seconds.quick < exhibit.expectation.seconds.full


def test_every_config_has_statements() -> None:
    assert {path.name for path in PAPERS.glob("*.yaml")} == {
        name for exhibit in SHIPPED for name in (f"{exhibit.name}.yaml", f"{exhibit.name}.expect.yaml")
    }


def problems(folder: Path, text: str) -> list[tuple[str, str]]:
    path = folder / "x.expect.yaml"
    path.write_text(textwrap.dedent(text))
    with pytest.raises(ConfigError) as caught:
        read_expectation(path)
    return [(one.place.removeprefix(f"{path}:"), one.message) for one in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "place", "told"),
    [
        ("at_least: 1", "at_leats: 1", "11:5", "unknown key 'statements[0].at_leats'; did you mean 'at_least'?"),
        ("    at_least: 1\n", "", "9:5", "needs a bound"),
        ("at_least: 1", "at_least: 1\n    at_most: 0", "9:5", "at_least is above at_most"),
        ("at_least: 1", "at_least: 1\n    over: seed > 0\n    minus: seed > 0", "9:5", "both over and minus"),
        ("at_least: 1", "at_least: 1\n    along: depth", "9:5", "along needs by"),
        ("at_least: 1", "at_least: 1\n    take: average", "12:11", "must be one of"),
        ("at_least: 1", "at_least: one", "11:15", "must be a number"),
        ("  - says: It works.\n    measure", "  - measure", "9:5", "statements[0].says"),
        ("paper: Somebody 1999", "papers: Somebody 1999", "1:1", "unknown key 'papers'; did you mean 'paper'?"),
        ("quick: 1", "quick: 0", "7:18", "must be above 0"),
        ("paper: Somebody 1999", "paper: ''", "1:8", "must not be empty"),
        ("paper: Somebody 1999\n", "paper: Somebody 1999\npaper: me\n", "2:1", "duplicate key 'paper'"),
    ],
)
def test_problems_are_told_with_their_place(tmp_path: Path, old: str, new: str, place: str, told: str) -> None:
    assert GOOD.count(old) == 1
    found = problems(tmp_path, GOOD.replace(old, new))
    assert [(where, told in message) for where, message in found if where == place and told in message], found


def test_an_empty_file_and_an_empty_folder(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == [("1:1", "the config must be a mapping (it is null)")]
    with pytest.raises(UsageError, match=r"no file in it ends in \.expect\.yaml"):
        exhibits(tmp_path / "nowhere")
