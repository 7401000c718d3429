"""The outcome of a check on terminals of any width: the verdict first, nothing left out in silence."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from gradlab.analysis.gate.change import SAME
from gradlab.report.gate.cells import cells, table
from gradlab.report.gate.console import ROWS, STORIES, print_outcome
from gradlab.store.measurement import FIRST, Key
from tests.report.outcomes import LONG, everything, measurement, network, outcome, passing, regressed, shifted

OUTCOMES = {"passing": passing, "regressed": regressed, "everything": everything}
HEADERS = ("layer", "step", "statistic", "baseline", "now", "change", "95 %", "verdict")


def drawn(what, width=None, **options):
    stream = io.StringIO()
    terminal = {"width": width, "force_terminal": True} if width else {}
    print_outcome(Console(file=stream, **terminal, **options), what)
    return stream.getvalue()


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_verdict_comes_first(name):
    made = OUTCOMES[name]()
    for width in (None, 80):
        assert drawn(made, width, color_system=None).startswith(f"{made.verdict}: ")


def test_a_pass_is_one_line():
    assert drawn(passing()).count("\n") == 1


def test_what_happened_stands_above_the_offenders_and_notes_below():
    made = everything()
    text = drawn(made)
    places = [text.index(sentence) for told in made.story.values() for sentence in told[:1]]
    places += [text.index("statistic "), *(text.index(f"note: {note}") for note in made.notes)]
    assert places[-1 - len(made.notes)] == max(places[: -len(made.notes)])
    assert min(places[-len(made.notes) :]) > places[-1 - len(made.notes)]


def test_a_network_that_sweeps_nothing_is_not_named():
    text = drawn(regressed())
    assert "the network" not in text
    assert text.count("\n\n") == 2
    assert "  from layer 2 down the gradient is 40x smaller\n" in text


def test_rows_say_layer_step_statistic_levels_ratio_interval_and_verdict():
    lines = [line.split() for line in drawn(regressed()).splitlines()]
    old = network().values[Key(FIRST, "delta_rms", 1)].mean()
    before, now = f"{10**old:.3f}", f"{10**old / 40:.5f}"
    assert ["1", "a", "0", "delta_rms", before, now, "0.0250x", "0.0250x", "..", "0.0250x", "regression"] in lines
    shares = ["3", "c", "0", "dead_units", "25", "%", "38", "%", "+12.5", "points", "+12.5", "..", "+12.5"]
    assert [*shares, "regression"] in lines


def test_the_worst_are_shown_and_the_others_counted():
    made = everything()
    offenders = [change for change in made.judged.changes if change.verdict != SAME]
    text = drawn(made)
    assert len(re.findall(r"  (?:regression|inconclusive) *$", text, re.MULTILINE)) == ROWS
    assert f"and {len(offenders) - ROWS} more changes (--json has all)" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", OUTCOMES)
def test_nothing_is_wider_than_the_terminal_and_nothing_left_out_in_silence(name, width):
    made = OUTCOMES[name]()
    text = drawn(made, width, color_system=None)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    if made.verdict == SAME:
        return
    flat = " ".join(text.split())
    left_out = re.findall(r"not shown at \d+ columns: (.*?) \(use", flat)
    header = next(line for line in text.splitlines() if "statistic" in line and "verdict" in line)
    for column in table([change for change in made.judged.changes if change.verdict != SAME][:ROWS]):
        assert column in header or column in left_out[0].split(", "), column


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_stand_for_networks_where_there_is_no_room_for_their_settings(width):
    swept = [network({"model.factory": LONG, "train.lr": lr}) for lr in (0.1, 0.2)]
    lost = {Key(FIRST, "delta_rms", 1): -1.0}
    made = outcome(measurement(*swept), measurement(*(shifted(one, lost) for one in swept)))
    lines = drawn(made, width, color_system=None).splitlines()
    assert [line.split()[0] for line in lines if line.split()[-1:] == ["regression"]] == ["#1", "#2"]
    flat = "".join(lines).replace(" ", "")
    for number, one in enumerate(swept, 1):
        label = f"#{number}: factory={LONG} lr={one.settings['train.lr']}"
        assert label.replace(" ", "") in flat
    if width == 120:
        assert all(header in "".join(lines) for header in HEADERS)


def test_offenders_of_one_network_name_it_once():
    swept = [network({"model.depth": depth}) for depth in (3, 8)]
    made = outcome(measurement(*swept), measurement(swept[0], shifted(swept[1], {Key(FIRST, "delta_rms", 1): -1.0})))
    text = drawn(made, 80, color_system=None)
    assert "all of depth=8:" in text
    assert "network " not in text.split("all of")[1]


def test_a_terminal_gets_the_verdict_in_colour_unless_told_otherwise(monkeypatch):
    assert "\x1b[1;31mregression" in drawn(regressed(), 100, color_system="standard")
    assert "\x1b[1;32mpass" in drawn(passing(), 100, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in drawn(regressed(), 100, color_system="standard")


def test_a_pipe_gets_plain_text():
    assert "\x1b" not in drawn(everything())


def test_control_characters_and_brackets_from_the_users_code_are_harmless():
    text = drawn(everything("a\x1b[31m\n[bold]\x07", ["seed=1: \x1b]0;title\x07\nsecond line"]), 120, color_system=None)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a?[31m [bold]?" in text
    assert "  failed: seed=1: ?]0;title? second line" in text


def test_many_failures_and_many_networks_are_counted():
    swept = [network({"model.depth": depth}) for depth in range(1, 31)]
    lost = {Key(FIRST, "delta_rms", 1): -1.0}
    made = outcome(
        measurement(*swept), measurement(*(shifted(one, lost) for one in swept)), [f"seed={s}: x" for s in range(40)]
    )
    text = drawn(made)
    assert text.count("failed: seed=") == STORIES
    assert f"and {40 - STORIES} more failed trials" in text
    assert text.count("\ndepth=") - ROWS == STORIES
    assert f"and {30 - STORIES} more networks" in text


def test_numbers_below_the_range_of_a_float_and_exact_zeros():
    found = {
        (change.key, dict(change.network).get("model.depth")): cells(change) for change in everything().judged.changes
    }
    tiny = found[Key(FIRST, "delta_rms", 1), 50]
    assert tiny["baseline"].endswith("e-401")
    assert tiny["now"].endswith("e-404")
    assert tiny["change"] == "0.00316x"
    zero = found[Key(FIRST, "weight_grad_norm", 1), 50]
    assert (zero["now"], zero["change"], zero["95 %"]) == ("0", "to 0", "-")
    half = found[Key(FIRST, "delta_rms", 2), 50]
    assert half["now"].endswith("e-403 (0 in 5)")
    assert half["change"] == "1.00x"
    lost = found[Key("last", "activation_rms", 3), 50]
    assert lost["change"] == "not a number"
    gone = found[Key("end", "layer", 2), 3]
    assert {gone[header] for header in ("step", "baseline", "now", "95 %", "needs")} == {"-"}
    assert (gone["layer"], gone["change"], gone["verdict"]) == ("2 b", "missing", "regression")
    noisy = next(row for row in found.values() if row["needs"] != "-")
    assert re.fullmatch(r"\d+ seeds", noisy["needs"])
    assert noisy["verdict"] == "inconclusive"
