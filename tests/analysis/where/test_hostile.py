"""Whatever the text of a condition, it ends in a mask or a UsageError."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.analysis.where.condition import parse_where
from gradlab.analysis.where.syntax import MAX_DEPTH, MAX_LENGTH
from gradlab.errors import UsageError
from tests.analysis.where.language import CONDITIONS

TRIALS = pd.DataFrame(
    {
        "seed": [0, 1],
        "depth": [2, 10],
        "activation": ["relu", "leaky_relu(negative_slope=0.2)"],
        "residual": [True, False],
        "lr": [0.1, 0.0],
        "train.momentum": [0.9, np.nan],
        "model.kwargs.mode": pd.Series([None, "b"], dtype="str"),
        "model.kwargs.gate": pd.Series([None, True], dtype=object),
        "diverged_step": [np.nan, 3.0],
        "error": pd.Series([None, None], dtype=object),
    }
)


def chosen(text):
    return parse_where(text).mask(TRIALS).tolist()


def survives(text):
    """A mask or a UsageError, and not one warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            mask = parse_where(text).mask(TRIALS)
        except UsageError as error:
            str(error).encode()  # it can be printed
            return False
    assert mask.shape == (len(TRIALS),)
    return True


PIECES = [
    *"()[]{},.:;+-*/%<>=!&|~^@#\\'\"` \n",
    *["==", "!=", "<=", ">=", "**", "//", ":=", "->", "...", "<<", "''", '"""', "\\N{", "\\x", "\\d"],
    *[f" {word} " for word in ["and", "or", "not", "in", "is", "if", "else", "for", "lambda", "await", "yield"]],
    *["None", "null", "true", "False", "depth", "activation", "residual", "train.momentum", "lr", "x", "__class__"],
    *["abs(", "log10(", "like(", "like(activation,", "f'{", "b'", "rb'", "0x", "1e9", "1_0", "1j", "9" * 30, "0"],
    *["'relu'", "'[a'", "'[[a]&&--~~]*'", "'*'", "[1, 2]", "('relu',)", "depth > 3", "é", "\u2028", "\0", "\ud800"],
]


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40))
def test_any_text(text):
    survives(text)


@settings(deadline=None, max_examples=1000)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_pieces(text):
    survives(text)


@settings(deadline=None, max_examples=400)
@given(CONDITIONS, st.data())
def test_any_slip_in_a_good_condition(condition, data):
    text = condition[0]
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 3))
    survives(text[:start] + data.draw(st.sampled_from(["", *PIECES])) + text[start + length :])


@settings(deadline=None, max_examples=300)
@given(st.text("[]!^-&~|*?ab\\", max_size=12))
def test_any_pattern(pattern):
    assert survives(f"like(activation, {pattern!r})")


@pytest.mark.parametrize(
    "piece", ["(", "[", "{", "-", "not ", "a.", "a[", "(a,", "a==(", "a+", "a<", "a**", "lambda:", "f(a=", "'"]
)
@pytest.mark.parametrize("end", ["", "depth", ")", " = 1"])
def test_deep_nesting(piece, end):
    for length in (30, MAX_LENGTH - len(end), 10 * MAX_LENGTH):
        assert not survives(piece * (length // len(piece)) + end)


def test_limits_of_depth_and_length():
    assert chosen("not " * (MAX_DEPTH - 2) + "residual") == [True, False]
    assert not survives("not " * MAX_DEPTH + "residual")
    many = " or ".join(["residual"] * (MAX_LENGTH // 12))
    assert chosen(many) == [True, False]
    assert not survives(many.ljust(MAX_LENGTH + 1, "x"))
    # Each operand of a chain is computed once, however the chains are nested.
    nested = "residual"
    for _ in range(MAX_DEPTH - 2):
        nested = f"True == ({nested}) == True"
    assert chosen(nested) == [True, False]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("__import__('os').system('true')", "no such function"),
        ("__import__('os')", "no such function"),
        ("eval('1')", "no such function"),
        ("depth.__class__ == 1", "underscores"),
        ("depth.__class__.__mro__", "underscores"),
        ("activation.upper() == 'RELU'", "no such function"),
        ("''.join(['a']) == 'a'", "no such function"),
        ("(lambda: 1)() == 1", "no such function"),
        ("lambda: True", "lambda"),
        ("depth[0] == 1", "[...]"),
        ("f'{depth}' == '2'", "f-string"),
        ("(depth := 1) == 1", ":="),
        ("[x for x in depth]", "comprehension"),
        ("{x for x in depth}", "comprehension"),
        ("(x for x in depth)", "comprehension"),
        ("{'a': 1}", "{...}"),
        ("residual if depth else lr", "if ... else"),
        ("9 ** 9 ** 9 ** 9 > 1", "**"),
        ("1 << 10000000000 > 1", "<<"),
        ("depth % 2 == 0", "%"),
        ("activation == b'relu'", "neither a number nor text"),
        ("depth == 2j", "neither a number nor text"),
        ("... == depth", "neither a number nor text"),
        ("depth == 0x" + "f" * 3_900, "too large"),
        ("depth == " + "9" * 3_900, "too large"),
        ("depth > 1\0", "U+0000"),
        ("activation == '\ud800'", "U+D800"),
        ("  \n ", "empty"),
        ("like(activation, pattern='x')", "="),
        ("abs(*depth) > 1", "* "),
    ],
)
def test_refused_by_name(text, name):
    with pytest.raises(UsageError) as raised:
        parse_where(text)
    assert name in str(raised.value)


def test_no_warning_of_python_reaches_the_user():
    assert survives("activation != '\\d'")
    for text in ("'a' is 1", "1or residual", "0x1for x in y", "() is ()"):
        survives(text)
