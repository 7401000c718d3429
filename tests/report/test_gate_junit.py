"""The outcome of a check as JUnit: valid XML whatever is in it, and counts that are what they count."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION
from gradlab.analysis.gate.names import network_name
from gradlab.report.gate.cells import printable
from gradlab.report.gate.junit import outcome_junit
from tests.report.outcomes import EVIL, everything, measurement, network, outcome, passing, regressed

OUTCOMES = {
    "passing": passing,
    "regressed": regressed,
    "everything": everything,
    "failed": lambda: everything(EVIL, [EVIL, "b"]),
}


def parsed(made):
    return ElementTree.fromstring(outcome_junit(made).encode())  # noqa: S314


@pytest.mark.parametrize("name", OUTCOMES)
def test_counts_are_right(name):
    made = OUTCOMES[name]()
    root = parsed(made)
    (suite,) = root
    assert [root.tag, suite.tag] == ["testsuites", "testsuite"]
    cases = suite.findall("testcase")
    regressed = Counter((change.key.statistic, network_name(change.network)) for change in made.judged.of(REGRESSION))
    for element in (root, suite):
        assert int(element.get("tests")) == len(cases)
        assert int(element.get("failures")) == len(suite.findall("testcase/failure")) == len(regressed)
        assert int(element.get("errors")) == len(suite.findall("testcase/error")) == len(made.failures)
        assert element.get("skipped") == "0"
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)


def test_a_case_for_each_statistic_of_each_network():
    made = everything()
    wanted = {f"{change.key.statistic}[{network_name(change.network)}]" for change in made.judged.changes}
    assert {case.get("name") for case in parsed(made).iter("testcase")} == wanted
    assert {case.get("name") for case in parsed(regressed()).iter("testcase")} == {
        change.key.statistic for change in regressed().judged.changes
    }


def test_failures_name_every_place_and_doubts_do_not_fail():
    made = everything()
    text = "".join(failure.text + "\n" for failure in parsed(made).iter("failure"))
    assert len(text.splitlines()) == len(made.judged.of(REGRESSION))
    assert "layer 1 a, step 0, delta_rms: 1.02e-401 -> 3.23e-404 (0.00316x" in text
    doubts = [out.text for case in parsed(made).iter("testcase") for out in case.findall("system-out")]
    assert len("\n".join(doubts).splitlines()) == len(made.judged.of(INCONCLUSIVE))
    only_doubts = [case for case in parsed(made).iter("testcase") if [one.tag for one in case] == ["system-out"]]
    assert only_doubts


def test_the_story_stands_in_the_suites_output():
    made = everything()
    (output,) = parsed(made).findall("testsuite/system-out")
    assert output.text.splitlines()[0] == made.headline
    for network_told, told in made.story.items():
        for sentence in told:
            assert f"{network_told}: {sentence}" in output.text


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_any_string_makes_valid_xml_and_survives(text):
    name = f"layer {text}"
    fewer = outcome(measurement(network(layers=("a", name))), measurement(network(layers=("a",))), [f"x{text}"])
    root = parsed(fewer)
    assert next(root.iter("error")).get("message") == printable(f"failed: x{text}")
    (gone,) = (failure.text for failure in root.iter("failure"))
    assert gone == f"layer 2 {printable(name)}: missing"
