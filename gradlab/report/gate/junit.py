"""The outcome of a check as a JUnit report: a test case for each statistic of each network."""

from __future__ import annotations

from xml.etree import ElementTree

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION, Change
from gradlab.analysis.gate.names import network_name
from gradlab.analysis.gate.outcome import FAILED, Outcome
from gradlab.report.gate import words
from gradlab.report.gate.cells import printable

_SUITE = "gradlab check"


def outcome_junit(outcome: Outcome) -> str:
    """One `testsuite`: a case fails where its statistic regressed in any layer at any step."""
    suite = ElementTree.Element("testsuite", name=_SUITE)
    statistics: dict[str, list[Change]] = {}
    for change in outcome.judged.changes:
        of = f"[{network_name(change.network)}]" if change.network else ""
        statistics.setdefault(f"{change.key.statistic}{of}", []).append(change)
    for name, changes in statistics.items():
        _add_statistic(suite, name, changes)
    for number, failure in enumerate(words.failures(outcome), 1):
        _add_text(_case(suite, f"failed trial {number}"), "error", failure, message=failure, type=FAILED)
    counts = {
        "tests": len(suite),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": 0,
    }
    told = [words.headline(outcome), *words.story_lines(outcome), *words.notes(outcome)]
    _add_text(suite, "system-out", "\n".join(told))
    root = ElementTree.Element("testsuites", name=_SUITE)
    root.append(suite)
    for element in (root, suite):
        element.attrib.update({name: str(count) for name, count in counts.items()})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_statistic(suite: ElementTree.Element, name: str, changes: list[Change]) -> None:
    case = _case(suite, name)
    regressed, open_ = ([change for change in changes if change.verdict == word] for word in (REGRESSION, INCONCLUSIVE))
    if regressed:
        told = "\n".join(map(words.in_words, regressed))
        message = f"{len(regressed)} of {len(changes)} regressed, the worst: {words.in_words(regressed[0])}"
        _add_text(case, "failure", told, message=message, type=REGRESSION)
    if open_:
        _add_text(case, "system-out", "\n".join(map(words.in_words, open_)))


def _case(suite: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="gradlab.check", name=printable(name))


def _add_text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
