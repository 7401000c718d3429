"""The outcome of a check as workflow commands, read as the runner reads them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gradlab.report.gate.github import LONGEST, SHOWN, workflow_commands
from tests.report.outcomes import EVIL, doubtful, everything, passing, regressed

CONFIG = Path("configs/ci.yaml")


def understood(line):
    """Level, properties and message of a workflow command."""
    _, head, message = line.split("::", 2)
    level, _, rest = head.partition(" ")
    properties = dict(part.split("=", 1) for part in rest.split(","))
    return level, {name: decoded(value, "%3A:", "%2C,") for name, value in properties.items()}, decoded(message)


def decoded(text, *more):
    for code in ("%0D\r", "%0A\n", *more, "%25%"):
        text = text.replace(code[:3], code[3])
    return text


def test_the_worst_nine_and_a_count():
    made = everything()
    lines = workflow_commands(made, CONFIG)
    assert len(lines) == SHOWN + 1 == 10
    assert all(line.startswith("::error file=configs/ci.yaml,title=gradlab check") for line in lines)
    total = sum(change.verdict != "pass" for change in made.judged.changes)
    assert f"and {total - SHOWN} more changes" in understood(lines[-1])[2]
    assert understood(lines[-1])[2].startswith(made.headline)


def test_few_changes_are_all_named_and_what_happened_is_told():
    made = regressed()
    messages = [understood(line)[2] for line in workflow_commands(made, CONFIG)]
    assert len(messages) == len([change for change in made.judged.changes if change.verdict != "pass"]) + 1
    assert (
        messages[0] == "layer 1 a, step 0, delta_rms: 0.102 -> 0.00255 (0.0250x, 95 % 0.0250x .. 0.0250x), regression"
    )
    assert messages[-1].splitlines() == [
        made.headline,
        *(sentence for told in made.story.values() for sentence in told),
    ]


def test_a_pass_is_silent_and_a_doubt_is_a_warning():
    assert workflow_commands(passing(), CONFIG) == []
    lines = workflow_commands(doubtful(), CONFIG)
    assert len(lines) > 1
    assert all(line.startswith("::warning ") for line in lines)


def test_failures_are_errors_even_where_nothing_regressed():
    (line,) = workflow_commands(passing(["seed=3: ValueError: no"]), CONFIG)
    level, _, message = understood(line)
    assert level == "error"
    assert message.splitlines()[1] == "failed: seed=3: ValueError: no"


def test_no_string_breaks_out_of_its_command():
    for line in workflow_commands(everything(EVIL, [EVIL] * 50), Path("a,b:c%0A\n.yaml")):
        assert "\n" not in line
        assert "\r" not in line
        level, properties, message = understood(line)
        assert level == "error"
        assert set(properties) == {"file", "title"}
        assert properties["file"] == "a,b:c%0A\n.yaml"
        assert len(message) <= LONGEST + 3


@given(st.text(max_size=40).filter(lambda text: text.strip("./")))
def test_any_path_survives(text):
    path = Path(f"x{text}")
    for line in workflow_commands(regressed(), path):
        assert understood(line)[1]["file"] == path.as_posix()
