"""The outcome of a check as a JUnit report: a test case for each network and statistic."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from gradlab.analysis.gate.change import REGRESSION, SAME, Change
from gradlab.analysis.gate.names import network_name
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate.cells import cells

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def outcome_junit(outcome: Outcome) -> str:
    """One `testsuite`; its cases fail where the statistic regressed in some layer at some step."""
    cases: dict[tuple[str, str], list[Change]] = {}
    for change in outcome.judged.changes:
        cases.setdefault((network_name(change.network), change.key.statistic), []).append(change)
    suite = ElementTree.Element("testsuite", name="gradlab check")
    failures = 0
    for (network, statistic), changes in cases.items():
        case = ElementTree.SubElement(suite, "testcase", classname=_text(f"gradlab.{network}"), name=_text(statistic))
        found = [change for change in changes if change.verdict == REGRESSION]
        doubtful = [change for change in changes if change.verdict not in {REGRESSION, SAME}]
        if found:
            failures += 1
            message = f"{statistic} regressed in {len(found)} of {len(changes)} places"
            ElementTree.SubElement(case, "failure", message=_text(message)).text = _lines(found)
        if doubtful:
            ElementTree.SubElement(case, "system-out").text = _lines(doubtful)
    for failure in outcome.failures:
        case = ElementTree.SubElement(suite, "testcase", classname="gradlab", name="trial")
        ElementTree.SubElement(case, "error", message=_text(failure))
    for attribute, count in {
        "tests": len(suite),
        "failures": failures,
        "errors": len(outcome.failures),
        "skipped": 0,
    }.items():
        suite.set(attribute, str(count))
    output = ElementTree.SubElement(suite, "system-out")
    output.text = _text("\n".join([outcome.headline, *_story(outcome), *outcome.notes]))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _story(outcome: Outcome) -> list[str]:
    return [f"{network}: {sentence}" for network, told in outcome.story.items() for sentence in told]


def _lines(changes: list[Change]) -> str:
    return _text("\n".join("  ".join(cells(change).values()) for change in changes))


def _text(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _NOT_XML.sub("?", text)
