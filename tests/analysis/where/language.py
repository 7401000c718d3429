"""The language of conditions once more, naively: one row at a time, None for null.

A generated expression is its text, written with as few brackets as Python's precedence needs, how tightly that binds,
and its value for a row.
"""

import math
import operator

import pandas as pd
from hypothesis import strategies as st

NAN = math.nan
OR, AND, NOT, COMPARE, SUM, PRODUCT, SIGN, ATOM = range(8)
TEXTS = ["relu", "tanh", "it's", 'a "b"', "elu(alpha=0.5)", "&|=#", "é"]
SIGNS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def bracketed(expression, tightness):
    text, binds, _ = expression
    return text if binds >= tightness else f"({text})"


def missing_to_none(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def column(name):
    return (name, ATOM, lambda row: missing_to_none(row[name]))


def literal(value):
    return (repr(value), ATOM, lambda row: value)


def as_float(value):
    return NAN if value is None else float(value)


def divided(one, other):
    if other != 0:
        return one / other
    return NAN if one == 0 or math.isnan(one) else math.copysign(math.inf, one) * math.copysign(1, other)


COMPUTE = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": divided}


def arithmetic(left, sign, right):
    binds = SUM if sign in "+-" else PRODUCT
    text = f"{bracketed(left, binds)} {sign} {bracketed(right, binds + 1)}"
    return (
        text,
        binds,
        lambda row: missing_to_none(COMPUTE[sign](as_float(left[2](row)), as_float(right[2](row)))),
    )


def negative(operand):
    # A space, as in - 3, keeps a sign before a literal apart from the literal's own.
    return (f"- {bracketed(operand, SIGN)}", SIGN, lambda row: missing_to_none(-as_float(operand[2](row))))


def absolute(operand):
    return (f"abs({operand[0]})", ATOM, lambda row: missing_to_none(abs(as_float(operand[2](row)))))


def related(one, sign, other):
    """Whole numbers are compared exactly, others as float64; None with nothing."""
    if one is None or other is None:
        return sign == "!="
    if isinstance(one, float) or isinstance(other, float):
        one, other = float(one), float(other)
    return SIGNS[sign](one, other)


def chain(first, *links):
    text = bracketed(first, SUM) + "".join(f" {sign} {bracketed(operand, SUM)}" for sign, operand in links)

    def holds(row):
        values = [first[2](row), *(operand[2](row) for _, operand in links)]
        return all(related(values[place], sign, values[place + 1]) for place, (sign, _) in enumerate(links))

    return (text, COMPARE, holds)


def among(operand, word, items):
    text = f"{bracketed(operand, SUM)} {word} [{', '.join(map(repr, items))}]"

    def holds(row):
        value = operand[2](row)
        is_one = any(related(value, "==", item) or (value is None and item is None) for item in items)
        return is_one == (word == "in")

    return (text, COMPARE, holds)


def is_missing(operand, word):
    wanted = word in ("is None", "== None", "== null")
    return (f"{bracketed(operand, SUM)} {word}", COMPARE, lambda row: (operand[2](row) is None) == wanted)


def negated(operand):
    return (f"not {bracketed(operand, NOT)}", NOT, lambda row: not operand[2](row))


def joined(word, operands):
    binds, fold = (AND, all) if word == "and" else (OR, any)
    text = f" {word} ".join(bracketed(operand, binds + 1) for operand in operands)
    return (text, binds, lambda row: fold(bool(operand[2](row)) for operand in operands))


NUMBER_LITERALS = st.sampled_from([0, 1, 2, 10, 0.5, 1.5, 1e300, 2**53 + 1])
NUMBERS = st.recursive(
    st.sampled_from(list(map(column, ["depth", "seed", "lr", "diverged_step", "train.momentum"])))
    | NUMBER_LITERALS.map(literal)
    | st.just(("log10(lr)", ATOM, lambda row: logarithm(row["lr"]))),
    lambda inner: (
        st.builds(arithmetic, inner, st.sampled_from(list(COMPUTE)), inner) | inner.map(negative) | inner.map(absolute)
    ),
    max_leaves=4,
)


def logarithm(value):
    if value == 0:
        return -math.inf
    return math.log10(value) if value > 0 else None


TEXT_COLUMNS = st.sampled_from(list(map(column, ["activation", "model.kwargs.mode"])))
FLAG_COLUMNS = st.sampled_from(list(map(column, ["residual", "model.kwargs.gate"])))
ANY_SIGN = st.sampled_from(list(SIGNS))
EQUALITY = st.sampled_from(["==", "!="])
MEMBER = st.sampled_from(["in", "not in"])
MISSING = st.sampled_from(["is None", "== None", "== null", "is not None", "!= None"])


def comparisons(operands, signs):
    return st.builds(
        lambda first, links: chain(first, *links),
        operands,
        st.lists(st.tuples(signs, operands), min_size=1, max_size=2),
    )


CONDITIONS = st.recursive(
    st.one_of(
        comparisons(NUMBERS, ANY_SIGN),
        comparisons(TEXT_COLUMNS | st.sampled_from(TEXTS).map(literal), ANY_SIGN),
        st.builds(among, NUMBERS, MEMBER, st.lists(NUMBER_LITERALS | st.none(), max_size=3)),
        st.builds(among, TEXT_COLUMNS, MEMBER, st.lists(st.sampled_from(TEXTS) | st.none(), max_size=3)),
        st.builds(among, FLAG_COLUMNS, MEMBER, st.lists(st.booleans() | st.none(), max_size=2)),
        st.builds(is_missing, NUMBERS | TEXT_COLUMNS | FLAG_COLUMNS, MISSING),
        FLAG_COLUMNS,
        st.booleans().map(literal),
    ),
    lambda inner: (
        inner.map(negated)
        | st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3))
        | comparisons(inner, EQUALITY)
    ),
    max_leaves=5,
)
ROWS = st.fixed_dictionaries(
    {
        "depth": st.integers(-2, 3),
        "seed": st.sampled_from([0, 1, 2**53, 2**53 + 1]),
        "lr": st.sampled_from([-1.0, 0.0, 0.01, 1.0, 10.0, 1000.0, math.inf]),
        "diverged_step": st.sampled_from([NAN, 0.0, 1.0, 2.0]),
        "train.momentum": st.sampled_from([NAN, -0.0, 0.5, 1.5, 1e300]),
        "activation": st.sampled_from(TEXTS),
        "model.kwargs.mode": st.sampled_from([*TEXTS, None]),
        "residual": st.booleans(),
        "model.kwargs.gate": st.sampled_from([True, False, None]),
    }
)


def table(some_rows):
    # Every text is held somewhere, so that no comparison with one counts as a slip.
    first = some_rows[0]
    whole = [*some_rows, *(first | {"activation": text, "model.kwargs.mode": text} for text in TEXTS)]
    frame = pd.DataFrame({name: [row[name] for row in whole] for name in first})
    gates = pd.Series([row["model.kwargs.gate"] for row in whole], dtype=object)
    return whole, frame.assign(**{"model.kwargs.gate": gates}).astype({"activation": "str", "model.kwargs.mode": "str"})
