"""Conditions on trials, by hand: which rows they choose, and what is said of those that choose none."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gradlab.analysis.where.condition import parse_where
from gradlab.errors import UsageError
from gradlab.store.tables import schema
from tests.store.synthetic import FakeTrial

NAN = float("nan")
TRIALS = pd.DataFrame(
    {
        "seed": [2**62 + 1, 2**62, 0, 1],
        "depth": [2, 10, 10, 50],
        "activation": ["relu", "tanh", "leaky_relu(negative_slope=0.2)", "Relu"],
        "residual": [True, False, True, False],
        "lr": [0.1, 0.01, 1.0, 0.0],
        "status": ["completed", "completed", "completed", "diverged"],
        "diverged_step": [NAN, NAN, NAN, 7.0],
        "error": pd.Series([None] * 4, dtype=object),
        "train.momentum": [0.9, NAN, 0.5, -0.5],
        "model.kwargs.gate": pd.Series([True, None, False, None], dtype=object),
        "model.kwargs.mode": pd.Series(["a", None, "b", "a"], dtype="str"),
        "model.kwargs.unset": pd.Series([None] * 4, dtype=object),
    }
)


def rows(text, trials=TRIALS):
    mask = parse_where(text).mask(trials)
    assert mask.shape == (len(trials),)
    assert mask.dtype == np.bool_
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("depth > 2", [1, 2, 3]),
        ("2 < depth <= 10", [1, 2]),
        ("10 == depth", [1, 2]),
        ("depth >= 10 and activation == 'tanh'", [1]),
        ("depth == 2 or depth == 50 and residual", [0]),
        ("(depth == 2 or depth == 50) and not residual", [3]),
        ("depth\n  > 10 and\tlr < 1", [3]),
        ("residual", [0, 2]),
        ("not residual", [1, 3]),
        ("residual == false", [1, 3]),
        ("residual == (depth == 10)", [2, 3]),
        ("True", [0, 1, 2, 3]),
        ("false or null", []),
        ("depth in [2, 50.0]", [0, 3]),
        ("depth not in (2, 50)", [1, 2]),
        ("depth in []", []),
        ("seed == 4611686018427387905", [0]),
        ("seed in [4611686018427387904, 0.5]", [1]),
        ("activation < 'l'", [3]),
        ("activation in ['relu', \"tanh\"]", [0, 1]),
        ("activation != 'rellu' and activation not in ['x']", [0, 1, 2, 3]),
        ("activation == 'leaky_relu(negative_slope=0.2)'", [2]),
        ("like(activation, 'leaky*')", [2]),
        ("like(activation, '?elu')", [0, 3]),
        ("not like(activation, '[rt]*')", [2, 3]),
        ("depth + 1 == 3 or -depth < -10", [0, 3]),
        ("depth * 2 - 1 == 19", [1, 2]),
        ("1 / lr > 1e308", [3]),
        ("lr / lr is None", [3]),
        ("log10(lr) == -2", [1]),
        ("log10(lr) < -100", [3]),
        ("log10(-depth) is null", [0, 1, 2, 3]),
        ("abs(train.momentum) == 0.5", [2, 3]),
    ],
)
def test_by_hand(text, chosen):
    assert rows(text) == chosen


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("train.momentum > 0", [0, 2]),
        ("train.momentum <= 0", [3]),
        ("not train.momentum > 0", [1, 3]),
        ("train.momentum == train.momentum", [0, 2, 3]),
        ("0 < train.momentum", [0, 2]),
        ("train.momentum != 0.9", [1, 2, 3]),
        ("train.momentum + 1 != 1.9", [1, 2, 3]),
        ("train.momentum not in [0.9]", [1, 2, 3]),
        ("train.momentum in [0.9, None]", [0, 1]),
        ("train.momentum not in [0.9, None]", [2, 3]),
        ("train.momentum is None", [1]),
        ("None == train.momentum", [1]),
        ("train.momentum is not None", [0, 2, 3]),
        ("train.momentum != null", [0, 2, 3]),
        ("diverged_step is not None", [3]),
        ("model.kwargs.gate", [0]),
        ("not model.kwargs.gate", [1, 2, 3]),
        ("model.kwargs.gate == False", [2]),
        ("model.kwargs.gate != True", [1, 2, 3]),
        ("model.kwargs.mode == 'a'", [0, 3]),
        ("model.kwargs.mode != 'a'", [1, 2]),
        ("model.kwargs.mode < 'z'", [0, 2, 3]),
        ("'z' > model.kwargs.mode", [0, 2, 3]),
        ("residual == model.kwargs.gate", [0]),
        ("like(model.kwargs.mode, '*')", [0, 2, 3]),
        ("model.kwargs.unset == 1 or model.kwargs.unset > 1 or model.kwargs.unset", []),
        ("model.kwargs.unset != 1 and model.kwargs.unset is None", [0, 1, 2, 3]),
        ("like(error, '*') or error < 'x'", []),
    ],
)
def test_null_satisfies_only_what_says_so(text, chosen):
    assert rows(text) == chosen


def test_the_columns_that_a_condition_uses():
    condition = parse_where(" train.momentum > depth or\nnot like(activation, 'x') and abs(depth) in [1] and null ")
    assert condition.names == ("train.momentum", "depth", "activation")
    assert condition.text.startswith("train.momentum > depth or not")
    assert parse_where("1 < 2").names == ()


def test_no_trials():
    assert rows("activation == 'rellu' or depth > 3", TRIALS.iloc[:0]) == []
    assert rows("True", TRIALS.iloc[:0]) == []


def test_how_a_trial_ended_may_be_asked_before_any_did():
    """A nightly job that looks for failures must not fail on the day when there are none."""
    assert rows("status == 'failed' or status in ['completed', 'failed']") == [0, 1, 2]


def test_columns_as_arrow_hands_them_over():
    """Where some runs don't sweep a field, it is null in their trials."""
    extra = {"train.nesterov": pa.bool_(), "train.momentum": pa.int64(), "model.kwargs.x": pa.null()}
    swept = [{}, {"train.nesterov": True, "train.momentum": 1}, {"train.nesterov": False, "train.momentum": 0}]
    made = [FakeTrial(f"t{seed}", seed, settings=settings).trial_row() for seed, settings in enumerate(swept)]
    trials = pa.Table.from_pylist(made, schema("trials", extra)).to_pandas()
    assert rows("train.nesterov", trials) == rows("train.momentum > 0", trials) == [1]
    assert rows("train.nesterov == false", trials) == rows("train.momentum == 0", trials) == [2]
    assert rows("train.nesterov is None and train.momentum is None", trials) == [0]
    assert rows("model.kwargs.x is None and error is None and diverged_step is None", trials) == [0, 1, 2]
    assert rows("seed > 0 and trial_id != 't2' and status == 'completed' and not residual", trials) == [1]


def marked(error):
    """The characters of the condition that the message points to."""
    _, line, carets = str(error).split("\n")
    start, end = carets.index("^"), len(carets)
    assert carets.strip() == "^" * (end - start)
    return line[start:end]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("depth", "depth", ["numbers (2 to 50)", "not a condition"]),
        ("residual and depth + 1", "depth + 1", ["a number, not a condition"]),
        ("activation == 'relu' or 'tanh'", "'tanh'", ["text, not a condition", "in ["]),
        ("not activation", "activation", ["text", "not a condition"]),
        ("activation > 3", "3", ["activation holds text (", "'relu'", "3 is a number"]),
        ("depth == 'ten'", "'ten'", ["depth holds numbers", "'ten' is text"]),
        ("'ten' == depth", "'ten'", ["depth holds numbers", "'ten' is text"]),
        ("depth in [2, 'ten']", "'ten'", ["depth holds numbers", "'ten' is text"]),
        ("residual == 1", "1", ["residual holds true and false", "1 is a number"]),
        ("residual > False", "residual", ["> cannot order"]),
        ("depth < None", "None", ["< cannot order"]),
        ("residual + 1 > 1", "residual", ["true and false", "+ takes numbers"]),
        ("'a' * 1000000000 == 'b'", "'a'", ["text", "* takes numbers"]),
        ("log10(activation) > 1", "activation", ["log10 takes numbers"]),
        ("like(depth, '1*')", "depth", ["like takes text"]),
        ("depth > 1 and dept > 10", "dept", ["no column dept", "did you mean depth?"]),
        ("model.depth > 3", "model.depth", ["did you mean depth?"]),
        ("momentum > 3", "momentum", ["did you mean train.momentum?"]),
        ("zzz > 3", "zzz", ["there are seed, depth"]),
        ("activation == relu", "relu", ["no column relu", "activation", "quotes: 'relu'"]),
        ("activation == 'rellu'", "'rellu'", ["no trial has activation 'rellu'", "did you mean 'relu'"]),
        ("activation in ['relu', 'xyz']", "'xyz'", ["no trial has activation 'xyz'", "there are 'Relu', "]),
        ("error == 'x'", "'x'", ["null in every trial"]),
        ("depth = 3", "=", ["did you mean ==?"]),
        ("depth => 3", "=>", [">="]),
        ("depth <> 3", "<>", ["!="]),
        ("depth > 3 & lr > 1", "&", ["`and`"]),
        ("depth > 3 && lr > 1", "&&", ["`and`"]),
        ("depth > 3 | lr > 1", "|", ["`or`"]),
        ("depth > 3 || lr > 1", "||", ["`or`"]),
        ("!residual", "!", ["`not`"]),
        ("depth > 3 AND lr > 1", "AND", ["small letters"]),
        ("depth > 3 # deep", "#", ["comments"]),
        ("depth in 3", "3", ["a list"]),
        ("activation in 'relu'", "'relu'", ["a list"]),
        ("2 < depth in [10]", "[10]", ["one value and a list"]),
        ("depth == [3]", "[3]", ["list", "`in`"]),
        ("activation in [relu]", "relu", ["'relu'"]),
        ("depth is 3", "3", ["write =="]),
        ("like(activation, relu)", "like(activation, relu)", ["like(column, 'pattern*')"]),
        ("abs(depth, lr) > 1", "abs(depth, lr)", ["abs(column)"]),
        ("(depth > 1", "(", ["never closed"]),
        ("depth > '1", "'", ["unterminated"]),
        ("é > 1 or é.depth 1", "1", ["cannot be understood"]),
        ("depth == 99999999999999999999", "99999999999999999999", ["too large"]),
    ],
)
def test_messages(text, place, words):
    with pytest.raises(UsageError) as raised:
        parse_where(text).mask(TRIALS)
    assert marked(raised.value) == place
    for word in words:
        assert word in str(raised.value)


def test_a_message_shows_the_part_of_a_long_condition_that_is_at_fault():
    text = "depth > 1 and " * 100 + "dept > 1" + " and depth > 1" * 100
    with pytest.raises(UsageError) as raised:
        parse_where(text).mask(TRIALS)
    assert marked(raised.value) == "dept"
    assert max(map(len, str(raised.value).split("\n"))) < 150


def test_what_a_condition_ends_without():
    with pytest.raises(UsageError) as raised:
        parse_where("depth ==")
    _, line, carets = str(raised.value).split("\n")
    assert carets.index("^") == len(line)
