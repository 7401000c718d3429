"""The page as a file: whole without a script, nothing from elsewhere, small, and text from data stays text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gradlab.analysis.figures.figure import Figure
from gradlab.analysis.figures.report import Report, make_report
from gradlab.report.page.document import SCRIPTS, page
from gradlab.report.page.prose import Made
from tests.report.page.made_up import HOSTILE, figures, hostile_report, report_of, trials
from tests.store.synthetic import FakeTrial, make_run

MADE = Made("1.2.3", ["gradlab", "report", "my runs", "-o", "out.html"], "2026-01-02 03:04 UTC")


class Reader(HTMLParser):
    """Elements, attributes and what can be read of a page."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.words, self.inline = [], [], "", {}
        self._within = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag in ("script", "style"):
            self._within = f"{tag} {dict(attrs).get('type', '')}".strip()
            self.inline.setdefault(self._within, "")

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        if self._within:
            self.inline[self._within] += data
        else:
            self.words += data

    def values(self, tag, name):
        return [value for found, key, value in self.attributes if (found, key) == (tag, name)]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("document"), trials([2, 10], ["sigmoid", "tanh"]))


@pytest.fixture(scope="module")
def found(report):
    return Reader(page(report, MADE))


def test_all_words_are_there_without_a_script(report, found):
    for figure in report.figures:
        for words in (figure.title, figure.sentence, figure.alt):
            assert words in found.words
    for group in report.summary.groups:
        assert group.advice is None or group.advice in found.words
    assert "4 groups of networks, 8 trials in 1 run." in found.words
    assert "gradlab report 'my runs' -o out.html" in found.words
    assert "2026-01-02 03:04 UTC by gradlab 1.2.3" in found.words


def test_a_row_for_each_group_with_what_it_is_sorted_by(report, found):
    assert found.values("tr", "data-group") == ["0", "1", "2", "3"]
    keys = [value for tag, name, value in found.attributes if tag in ("td", "th") and name == "data-key"]
    decays = [str(group.decay.log10) for group in report.summary.groups]
    assert [key for key in keys if key in decays] == decays


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(found):
    (policy,) = (value for value in found.values("meta", "content") if value.startswith("default-src"))
    digests = {
        name: base64.b64encode(hashlib.sha256(found.inline[name].encode()).digest()).decode()
        for name in ("style", "script")
    }
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests['style']}'; script-src 'sha256-{digests['script']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # What the policy speaks of must come before all that it is about.
    assert found.attributes[1][1:] == ("charset", "utf-8")
    assert found.attributes[2][1:] == ("http-equiv", "Content-Security-Policy")


def test_nothing_comes_from_elsewhere_and_nothing_needs_more_than_the_policy_allows(found):
    assert sorted(found.inline) == ["script", "script application/json", "style"]
    assert not set(found.tags) & {"link", "img", "iframe", "object", "embed", "base", "form", "audio", "video"}
    names = {name for _, name, _ in found.attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]
    assert "src" not in names
    assert all(value.startswith("#") for value in found.values("a", "href"))
    for code in (found.inline["script"], found.inline["style"]):
        assert not re.search(
            r"fetch\(|XMLHttpRequest|import\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write", code
        )
        assert not re.search(r"\beval\(|new Function|url\((?!#)|@import", code)
        assert set(re.findall(r"https?://[^\"' ]+", code)) <= {"http://www.w3.org/2000/svg"}


def test_ids_stand_there_once_and_links_lead_somewhere(found):
    ids = [value for _, name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in found.values("a", "href")} <= set(ids)
    described = [value for _, name, value in found.attributes if name in ("aria-labelledby", "aria-describedby")]
    assert set(described) <= set(ids)


def test_strings_of_the_data_stay_text(tmp_path, found):
    hostile = Reader(page(hostile_report(tmp_path), MADE))
    for text in HOSTILE:
        assert text in hostile.words, text
    assert sorted(hostile.inline) == sorted(found.inline)
    assert not [name for _, name, _ in hostile.attributes if name.startswith("on")]
    assert set(hostile.tags) <= set(found.tags)
    assert hostile.inline["script"] == found.inline["script"]
    data = json.loads(hostile.inline["script application/json"])
    assert any(HOSTILE[0] in label for label in data["labels"])


def test_what_could_not_be_read_is_told(tmp_path):
    run = make_run(tmp_path, [trials([2], ["tanh"])])
    (tmp_path / "empty").mkdir()
    words = Reader(page(make_report([tmp_path]), MADE)).words
    assert "What could not be read" in words
    assert f"{tmp_path / 'empty'} is no run directory" in words
    assert run.path.name in words


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_run_without_any_number(tmp_path, status):
    nothing = dict.fromkeys(("final_train_loss", "final_eval_loss", "final_eval_metric", "dead_fraction"))
    nothing |= dict.fromkeys(("saturated_fraction", "gradient_ratio", "gradient_decay", "predicted_gradient_decay"))
    failed = [
        FakeTrial("a", results={"status": status, "diagnosis": status, "error": "out of luck", **nothing}, layers={})
    ]
    found = Reader(page(make_report([make_run(tmp_path, [failed]).path]), MADE))
    assert "1 group of networks, 1 trial in 1 run." in found.words
    assert status in found.words


def test_a_hundred_groups_of_thirty_layers_and_fifty_steps_stay_below_five_megabytes(tmp_path):
    activations = [f"f{place}" for place in range(10)]
    made = [
        FakeTrial(f"{place}-{width}", 0, 2, width, settings={"activation": name})
        for place, name in enumerate(activations)
        for width in range(10, 110, 10)
    ]
    found = make_report([make_run(tmp_path, [made]).path])
    assert len(found.labels) == 100
    draw = np.random.default_rng(0).normal
    # Noise is the worst case: no two arrays are equal.
    noisy = [
        Figure(one.name, one.title, one.sentence, one.alt, _with_noise(one.numbers, draw), one.chart)
        for kinds in [figures([30] * 100, 50)]
        for one in [*kinds, *kinds[:3]]
    ]
    content = page(Report(found.summary, found.labels, found.factors, tuple(noisy)), MADE)
    assert len(content.encode()) < 5e6
    assert not json.loads(Reader(content).inline["script application/json"])["figures"][0]["thinned"]


def _with_noise(numbers, draw):
    columns = [name for name in ("value", "low", "high") if name in numbers]
    return numbers.assign(**{name: numbers[name] + draw(0, 0.1, len(numbers)) for name in columns})


def test_scripts_are_short_and_all_of_them_are_in_the_page():
    from importlib.resources import files

    folder = files("gradlab.report.page").joinpath("js")
    lengths = {file.name.removesuffix(".js"): len(file.read_text().splitlines()) for file in folder.iterdir()}
    assert set(lengths) == set(SCRIPTS)
    assert max(lengths.values()) < 300
