"""What a network doesn't read is no setting of it: it neither names it nor has an effect."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gradlab.analysis.compare import Question, compare_runs
from gradlab.analysis.summary import summarise_runs
from gradlab.analysis.telling import is_unread, telling
from gradlab.config.model import MODEL_READS
from gradlab.config.schema import Experiment
from gradlab.config.sweep import TRIAL_COLUMNS, expand
from gradlab.report.compare import print_comparison
from gradlab.report.flat import comparison_csv
from gradlab.report.trials import print_trials
from gradlab.store.finding import find_runs
from tests.store.synthetic import FakeTrial, make_run

PLAIN = {"family": "rnn", "norm": None, "residual": None, "depth": 1}
CELLS = [{"model.cell": "rnn"}, {"model.cell": "lstm", "activation": None}, {"model.cell": "gru", "activation": None}]
NOTHING = dict.fromkeys(("depth", "width", "activation", "init", "norm", "residual"))


def trials(networks, **more):
    return [
        FakeTrial(f"{number}{seed}", seed, decay=0.3 + 0.1 * number + seed / 50, settings=settings, **more)
        for number, settings in enumerate(networks)
        for seed in range(3)
    ]


def cells():
    return trials([{**PLAIN, **cell} for cell in CELLS])


def draw(comparison, runs):
    stream = io.StringIO()
    print_comparison(Console(file=stream), comparison, runs)
    return stream.getvalue()


@pytest.mark.parametrize("family", MODEL_READS)
def test_what_is_unread_is_what_trials_leave_out(family):
    """The factor columns of the trials of every family, as the config makes them."""
    model = {"family": family, "factory": "m.py:f"} if family == "custom" else {"family": family}
    for cell in ("rnn", "lstm", "gru") if family == "rnn" else (None,):
        chosen = {**model, "cell": cell} if cell else model
        (trial,) = expand(Experiment.model_validate({"model": chosen, "seeds": 1}))
        settings = trial.factors()
        for path, column in TRIAL_COLUMNS.items():
            unread = path.startswith("model.") and settings[column] is None
            assert is_unread(settings, column) == unread


def test_what_nobody_told_is_not_unread():
    assert not is_unread({"family": "mlp", "depth": None}, "depth")
    assert not is_unread({"family": "custom", "lr": None}, "lr")
    assert not is_unread({"family": "custom", "note": None}, "note")
    assert not is_unread({"family": None, "depth": None}, "depth")
    assert not is_unread({"depth": None}, "depth")
    assert is_unread({"family": "custom"}, "model.cell")
    assert is_unread({"family": "mlp"}, "model.kwargs.width")
    assert not is_unread({"family": "custom"}, "model.kwargs.width")


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "family": st.sampled_from(["mlp", "custom", "rnn"]),
                "depth": st.sampled_from([None, 1, 2]),
                "activation": st.sampled_from([None, "tanh"]),
                "lr": st.sampled_from([None, 0.1]),
            }
        ),
        max_size=8,
    )
)
def test_as_many_networks_are_told_apart(networks):
    varying = ["family", "depth", "activation", "lr"]
    names = [name for name in varying if len({row[name] for row in networks}) > 1]
    kept = telling(names, networks)
    apart = [{tuple(row[name] for name in chosen) for row in networks} for chosen in (kept, names)]
    assert len(apart[0]) == len(apart[1])
    for name in set(names) - set(kept):
        assert len({row[name] for row in networks}) == 2
        assert all(is_unread(row, name) for row in networks if row[name] is None)


def test_cells_are_told_apart_by_the_cell_alone(tmp_path):
    run = make_run(tmp_path, [cells()])
    comparison = compare_runs([run], Question())
    assert comparison.summary.keys == ("model.cell",)
    assert set(comparison.summary.varying) == {"activation", "model.cell"}
    text = draw(comparison, [run])
    assert "activation" not in text
    assert comparison_csv(comparison).splitlines()[0].startswith("activation,model.cell,")
    decay = comparison.effects[0]
    (factor,) = decay.factors
    assert factor.factor == "model.cell"
    assert all(level.difference.value is not None for level in factor.levels)
    asked = compare_runs([run], Question(by=("activation",)))
    assert [one.factor for one in asked.effects[0].factors] == ["activation"]
    assert "activation" in draw(asked, [run])


def test_a_factor_that_some_read_stays_and_is_not_named_where_it_is_not_read(tmp_path):
    networks = [{**PLAIN, **cell} for cell in CELLS] + [{**PLAIN, "model.cell": "rnn", "activation": "relu"}]
    run = make_run(tmp_path, [trials(networks, results={"diagnosis": "vanishing"})])
    summary = summarise_runs([run])
    assert set(summary.keys) == {"activation", "model.cell"}
    text = draw(compare_runs([run], Question()), [run])
    assert "activation=tanh model.cell=rnn" in text
    assert "activation=- " not in text
    assert "model.cell=lstm" in text


def test_two_families_are_told_apart_by_the_family(tmp_path):
    run = make_run(tmp_path, [trials([{}, {"family": "custom", **NOTHING}])])
    assert summarise_runs([run]).keys == ("family",)
    assert set(summarise_runs([run]).varying) == {"family", *NOTHING}


def test_beside_a_reference_only_what_says_something_differs(tmp_path):
    make_run(tmp_path, [trials([{**PLAIN, **CELLS[0]}])], "one")
    make_run(tmp_path, [trials([{**PLAIN, **CELLS[1]}])], "two")
    runs = find_runs([tmp_path])[0]
    (found,) = compare_runs(runs, Question(), runs[:1]).against
    assert found.changed == {"model.cell": ("rnn", "lstm")}


def test_if_nothing_else_differs_it_is_said(tmp_path):
    make_run(tmp_path, [trials([{**PLAIN, "activation": "tanh"}])], "one")
    make_run(tmp_path, [trials([{**PLAIN, "activation": None}])], "two")
    runs = find_runs([tmp_path])[0]
    (found,) = compare_runs(runs, Question(), runs[:1]).against
    assert found.changed == {"activation": ("tanh", None)}
    assert summarise_runs(runs).keys == ("activation",)


def test_networks_on_both_sides_are_named_without_it(tmp_path):
    for name in ("one", "two"):
        make_run(tmp_path, [cells()], name)
    runs = find_runs([tmp_path])[0]
    (found,) = compare_runs(runs, Question(), runs[:1]).against
    assert found.keys == ("model.cell",)
    assert len(found.networks) == 3


def test_the_trials_of_a_sweep():
    config = {"model": {"family": "rnn"}, "seeds": 1, "sweep": {"grid": {"model.cell": ["rnn", "lstm"]}}}
    stream = io.StringIO()
    print_trials(Console(file=stream), expand(Experiment.model_validate(config)))
    head, *_, common, _ = stream.getvalue().splitlines()
    assert head.split() == ["#", "trial_id", "model.cell"]
    assert "family=rnn" in common
    assert "activation" not in common


def test_plain_cells_are_the_reference(tmp_path):
    run = make_run(tmp_path, [cells()])
    comparison = compare_runs([run], Question())
    assert comparison.effects[0].factors[0].reference == "rnn"
