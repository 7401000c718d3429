"""What is no whole baseline is refused, with the command that makes one: never a traceback, never a pass."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import pytest

from gradlab.analysis.gate.judge import judge
from gradlab.errors import BaselineError
from gradlab.store.baseline_reading import from_text
from gradlab.store.baseline_text import to_text
from tests.analysis.gate.measurements import THRESHOLDS, measurement, network

REMEDY = "make it with: gradlab check c.yaml --baseline b.json --update"

WHOLE = measurement(network(layers=2, seeds=2, settings={"model.depth": 2, "train.optimizer": "sgd"}))
TEXT = to_text(WHOLE)
LINES = TEXT.splitlines(keepends=True)
ABSENT = object()


def refusal(text: str) -> str:
    """Why a text is refused; it must be."""
    with pytest.raises(BaselineError) as told:
        from_text(text, "some/b.json", REMEDY)
    message = str(told.value)
    assert told.value.exit_code == 3
    assert message.startswith("some/b.json: ")
    assert message.endswith(REMEDY)
    assert len(message) < 600
    return message


def with_(path: str, value: Any) -> str:
    """The baseline with another value at `path`, such as `networks.0.layers`; or without it."""
    content = json.loads(TEXT)
    place: Any = content
    *way, last = [int(part) if part.isdecimal() and part == "0" else part for part in path.split(".")]
    for part in way:
        place = place[part]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return json.dumps(content)


def with_number(number: str, statistic: str) -> str:
    """The baseline with this text for the numbers of layer 1 at step 0."""
    return with_(f"networks.0.statistics.first.{statistic}.1", "here").replace('"here"', number)


def test_it_is_whole() -> None:
    for text in (TEXT, TEXT.rstrip("\n"), json.dumps(json.loads(TEXT))):
        found = from_text(text, "b.json", REMEDY)
        assert judge(found, WHOLE, THRESHOLDS).verdict == "pass"


def test_truncated_at_any_byte() -> None:
    for end in range(len(TEXT.rstrip())):
        refusal(TEXT[:end])


def test_without_any_one_of_its_lines() -> None:
    """As after a bad merge: it is refused, or a check names what it lacks; what is left is compared."""
    told = ["gradlab", "torch", "settings", "diverged"]
    for number, line in enumerate(LINES):
        try:
            found = from_text("".join(LINES[:number] + LINES[number + 1 :]), "b.json", REMEDY)
        except BaselineError:
            continue
        notes = judge(found, WHOLE, THRESHOLDS).notes
        assert notes or line.split('"')[1] in told, line


def test_with_lines_of_another_baseline_before_or_behind_its_own() -> None:
    """Both sides of a merge were kept; JSON as such takes the last in silence."""
    other = to_text(measurement(network(layers=2, seeds=2, stream=1, settings=WHOLE.networks[0].settings)))
    for number, (line, theirs) in enumerate(zip(LINES, other.splitlines(keepends=True), strict=True)):
        if line != theirs:
            assert_refused_or_whole("".join([*LINES[:number], theirs, *LINES[number:]]))
            assert_refused_or_whole("".join([*LINES[: number + 1], theirs, *LINES[number + 1 :]]))


def test_with_any_character_replaced() -> None:
    """It is refused, or read as the baseline that it then is, and compared."""
    chosen = random.Random(0)  # noqa: S311
    for place in range(len(TEXT)):
        other = chosen.choice('0123456789"{}[],:.-e \n\0aé')
        with suppress(BaselineError):
            judge(from_text(TEXT[:place] + other + TEXT[place + 1 :], "b.json", REMEDY), WHOLE, THRESHOLDS)


def assert_refused_or_whole(text: str) -> None:
    """A text that isn't refused says what the baseline said."""
    try:
        found = from_text(text, "b.json", REMEDY)
    except BaselineError:
        return
    assert to_text(found) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "null",
        "1",
        '"x"',
        "[]",
        "{}",
        "[1, 2]",
        "NaN",
        "{]",
        "\0",
        "not JSON at all",
        '{"gradlab_baseline": 1}',
        "[" * 100_000,
        '{"a": ' * 100_000,
        "[" * 900 + "]" * 900,
        "\ufeff" + TEXT,
        TEXT + TEXT,
        TEXT + "}",
        "<<<<<<< ours\n" + TEXT,
        TEXT.replace("{", "{,", 1),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_other_texts(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize("version", [0, 2, 1.5, -1, "2", None, True, [1], {}, 10**400])
def test_other_versions(version: Any) -> None:
    refusal(with_("gradlab_baseline", version))


def test_a_later_version_is_said_to_be_one() -> None:
    assert "version 7" in refusal(with_("gradlab_baseline", 7))


NORMS = ['"-inf"', '"x"', "true", "null", "{}", "[]", "[1]", "[1, 2, 3]", "[1, null]", "[[1], [2]]", "NaN", "Infinity"]
NORMS += ["-Infinity", "-1", "-1e-999999999", "1e99999999999999999999", "1e-99999999999999999999", "1.e5", "1" * 5000]
SHARES = ["NaN", "-0.1", "1.1", "1e999999999", '"inf"', "1" * 400, "[0.1]", "true", "[0.1, -5]"]


@pytest.mark.parametrize("number", NORMS, ids=lambda number: number[:20])
def test_norms_that_are_none(number: str) -> None:
    refusal(with_number(number, "weight_grad_norm"))


@pytest.mark.parametrize("number", SHARES, ids=lambda number: number[:20])
def test_shares_that_are_none(number: str) -> None:
    refusal(with_number(number, "dead_units"))


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in ("made_by", "config", "seeds", "networks") for value in (ABSENT, None, 5, 1.5, [None])]
    + [("made_by", {"torch": 2}), ("made_by", []), ("config", {}), ("seeds", []), ("networks", []), ("networks", {})],
)
def test_fields_of_another_type(field: str, value: Any) -> None:
    refusal(with_(field, value))


@pytest.mark.parametrize(
    "seeds", [[0], [0, 1, 2], [0, 0], ["0", "1"], [0, -1], [0, 1.0], [0, True], [0, 10**30], [0, None]]
)
def test_seeds_that_are_none(seeds: list[Any]) -> None:
    refusal(with_("seeds", seeds))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("settings", ABSENT),
        ("settings", []),
        ("layers", ABSENT),
        ("layers", []),
        ("layers", ["a"]),
        ("layers", ["a", "b", "c"]),
        ("layers", [1, 2]),
        ("layers", "ab"),
        ("weights", ABSENT),
        ("weights", [16]),
        ("weights", [16, -1]),
        ("weights", [16, 1.5]),
        ("steps", ABSENT),
        ("steps", {}),
        ("steps", {"first": 0}),
        ("steps", {"frist": 0, "middle": 10, "last": 19}),
        ("steps", {"first": 0, "middle": 10, "last": 19, "extra": 30}),
        ("steps", {"first": "0", "middle": 10, "last": 19}),
        ("steps", {"first": -1, "middle": 10, "last": 19}),
        ("diverged", []),
        ("diverged", [1]),
        ("diverged", [1, -1]),
        ("diverged", [1, 1.0]),
        ("diverged", "no"),
        ("weight_prints", ABSENT),
        ("weight_prints", {}),
        ("weight_prints", []),
        ("weight_prints", {"1": [1, 2]}),
        ("weight_prints", {"1": [1, 2], "2": [1]}),
        ("weight_prints", {"1": [1, 2], "2": [1, 2], "3": [1, 2]}),
        ("weight_prints", {"1": [1, 2], "two": [1, 2]}),
        ("statistics", ABSENT),
        ("statistics", {}),
        ("statistics", []),
        ("statistics", {"first": {}}),
        ("statistics.first", ABSENT),
        ("statistics.later", {"delta_rms": {"1": 1, "2": 1}}),
        ("statistics.first.gradient", {"1": 1, "2": 1}),
        ("statistics.first.delta_rms", ABSENT),
        ("statistics.first.delta_rms", {}),
        ("statistics.first.delta_rms", [1, 2]),
        ("statistics.first.final_train_loss", [1, 2]),
        ("statistics.first.delta_rms.0", [1, 2]),
        ("statistics.first.delta_rms.3", [1, 2]),
        ("statistics.first.delta_rms.01", [1, 2]),
        ("statistics.first.delta_rms.-1", [1, 2]),
        ("statistics.first.delta_rms.x", [1, 2]),
        ("statistics.first.delta_rms.²", [1, 2]),
        ("statistics.end.final_train_loss", {"1": 1, "2": 1}),
        ("statistics.end.delta_rms", {"1": 1, "2": 1}),
        ("more", 1),
    ],
)
def test_networks_that_are_none(field: str, value: Any) -> None:
    refusal(with_(f"networks.0.{field}", value))


def test_a_network_that_stands_twice() -> None:
    content = json.loads(TEXT)
    refusal(with_("networks", content["networks"] * 2))


def test_unknown_fields() -> None:
    refusal(with_("more", 1))
