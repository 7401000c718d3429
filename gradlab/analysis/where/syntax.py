"""The text of a condition on trials, read into a small tree; nothing of it is ever run as Python.

Python's own parser reads the text, and every node that is not on a short list is refused with its place.
"""

from __future__ import annotations

import ast
import re
import warnings
from functools import partial

import numpy as np

from gradlab.analysis.where.nodes import (
    Arithmetic,
    Column,
    Comparison,
    Function,
    Joined,
    Like,
    Literal,
    Membership,
    Node,
    Not,
    Span,
    is_null,
)
from gradlab.errors import UsageError

MAX_LENGTH = 4_000
"""Characters of a condition; below the number of digits at which Python stops reading an integer."""
MAX_DEPTH = 100
"""Expressions inside one another; far below Python's own limit, so that a tree that was read can be evaluated."""

_WINDOW = 60
"""Characters of the condition that a message shows on either side of the place at fault."""

_TOO_DEEP = f"--where: more than {MAX_DEPTH} expressions inside one another; use a list: `column in [1, 2, 3]`"

_CONSTANTS = {"None": None, "null": None, "True": True, "true": True, "False": False, "false": False}
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARISONS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "==",
    ast.IsNot: "!=",
}
_FUNCTIONS = {"abs": "abs(column)", "log10": "log10(column)", "like": "like(column, 'pattern*')"}
_REFUSED = {
    ast.Subscript: "[...] after a value",
    ast.Lambda: "lambda",
    ast.IfExp: "if ... else",
    ast.NamedExpr: "the assignment :=",
    ast.JoinedStr: "an f-string",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Dict: "{...}",
    ast.Set: "{...}",
    ast.Starred: "*",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Await: "await",
    ast.Pow: "**",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.MatMult: "@",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.UAdd: "+ before a value",
}
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?")
_SLIPS = {
    "&&?": "write `and` instead of {}",
    r"\|\|?": "write `or` instead of {}",
    "=[<>]": "{} is no comparison; did you mean >= or <=?",
    "<>": "{} is no comparison; did you mean !=?",
    "(?<![=!<>:])=(?!=)": "a single = is no comparison; did you mean ==? (Text with = in it stands in quotes.)",
    "!(?!=)|~": "write `not` instead of {}",
    r"\b(?:AND|OR|NOT|IN|IS)\b": "write {} in small letters",
    "#": "a condition has no comments",
}


def fault(text: str, span: Span, message: str) -> UsageError:
    """The error with this message, under it the condition with its characters in `span` marked."""
    start, end = span
    first, last = max(start - _WINDOW, 0), min(max(end, start + 1), start + _WINDOW)
    before = "... " if first else ""
    after = " ..." if last + _WINDOW < len(text) else ""
    shown = f"{before}{text[first : last + _WINDOW]}{after}"
    return UsageError(f"--where: {message}\n  {shown}\n  {' ' * (len(before) + start - first)}{'^' * (last - start)}")


def read_condition(text: str) -> tuple[str, Node]:
    """The condition on one line, and its tree.

    Raises:
        UsageError: it cannot be understood, or has something in it that conditions have not.
    """
    text = re.sub(r"[\t\r\n]", " ", text).strip()
    if not text:
        raise UsageError("--where is empty; write a condition such as --where \"depth > 10 and activation == 'relu'\"")
    if len(text) > MAX_LENGTH:
        raise UsageError(f"--where: a condition has {MAX_LENGTH:,} characters at most, this one {len(text):,}")
    for place, character in enumerate(text):
        if not character.isprintable():
            raise UsageError(f"--where: unprintable character U+{ord(character):04X} at place {place + 1}")
    bare = _STRING.sub(lambda found: "_" * len(found[0]), text)
    slips = [(found, message) for pattern, message in _SLIPS.items() if (found := re.search(pattern, bare))]
    if slips:
        found, message = min(slips, key=lambda slip: slip[0].start())
        raise fault(text, found.span(), message.format(found[0]))
    return text, _node(text, _parse(text))


def _parse(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd escapes and literals, which are no concern of the user's
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        # Python's sentences about invalid syntax guess at what belongs in a program.
        reason = error.msg.split(" (detected")[0]
        if reason.startswith("invalid syntax"):
            reason = "this cannot be understood"
        # Python counts from 1, and says 0 where the text ends too early.
        start = min(error.offset - 1, len(text)) if error.offset else len(text)
        raise fault(text, (start, start + 1), reason) from None
    except (RecursionError, MemoryError):
        raise UsageError(_TOO_DEEP) from None


def _node(text: str, tree: ast.expr, depth: int = 1) -> Node:
    if depth > MAX_DEPTH:
        raise UsageError(_TOO_DEEP)
    span = _span(text, tree)
    inner = partial(_node, text, depth=depth + 1)
    match tree:
        case ast.Name(id=name) if name in _CONSTANTS:
            return _literal(text, tree)
        case ast.Name() | ast.Attribute():
            return Column(span, _column_name(text, tree))
        case ast.Constant() | ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return _literal(text, tree)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Not(span, inner(operand))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Function(span, "-", inner(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return Arithmetic(span, _ARITHMETIC[type(op)], inner(left), inner(right))
        case ast.BoolOp(op=op, values=values):
            return Joined(span, "and" if isinstance(op, ast.And) else "or", tuple(map(inner, values)))
        case ast.Compare(
            left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[ast.List() | ast.Tuple() as right]
        ):
            items = tuple(_literal(text, item) for item in right.elts)
            return Membership(span, inner(left), items, negated=isinstance(op, ast.NotIn))
        case ast.Compare():
            return _comparison(text, tree, inner)
        case ast.Call():
            return _call(text, tree, inner)
        case ast.List() | ast.Tuple():
            raise fault(text, span, "a list stands only on the right of `in` and `not in`")
    raise _refusal(text, tree)


def _refusal(text: str, tree: ast.expr) -> UsageError:
    kind = type(tree.op) if isinstance(tree, ast.BinOp | ast.UnaryOp) else type(tree)
    what = _REFUSED.get(kind, "this")
    return fault(text, _span(text, tree), f"{what} is not part of a condition")


def _column_name(text: str, tree: ast.expr) -> str:
    parts = []
    part = tree
    while isinstance(part, ast.Attribute):
        parts.append(part.attr)
        part = part.value
    if not isinstance(part, ast.Name):
        raise fault(text, _span(text, tree), "a dot stands only in the name of a column, such as train.momentum")
    parts.append(part.id)
    if any(name.startswith("__") for name in parts):
        raise fault(text, _span(text, tree), "names that begin with two underscores are not part of a condition")
    return ".".join(reversed(parts))


def _literal(text: str, tree: ast.expr) -> Literal:
    span = _span(text, tree)
    match tree:
        case ast.Name(id=name) if name in _CONSTANTS:
            return Literal(span, _CONSTANTS[name])
        case ast.Constant(value=bool() | str() | None as value):
            return Literal(span, value)
        case ast.Constant(value=int() | float() as value):
            pass
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
            value, bool
        ):
            value = -value
        case ast.Constant() | ast.UnaryOp(operand=ast.Constant()):
            raise fault(text, span, "this is neither a number nor text")
        case ast.Name(id=name):
            raise fault(text, span, f"a list holds numbers and text; text stands in quotes: '{name}'")
        case _:
            raise fault(text, span, "a list holds numbers and text, nothing else")
    if isinstance(value, int) and abs(value) > np.iinfo(np.int64).max:
        raise fault(text, span, "this whole number is too large (a column holds 64 bits); write it as 1e30")
    return Literal(span, value)


def _comparison(text: str, tree: ast.Compare, inner: partial[Node]) -> Comparison:
    operands = [inner(tree.left)]
    for op, right in zip(tree.ops, tree.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            message = "`in` stands between one value and a list, such as `depth in [2, 10]`"
            raise fault(text, _span(text, right), message)
        operands.append(inner(right))
        if isinstance(op, ast.Is | ast.IsNot) and not is_null(operands[-1]):
            raise fault(text, operands[-1].span, "`is` goes with None only; write == or !=")
    return Comparison(_span(text, tree), tuple(_COMPARISONS[type(op)] for op in tree.ops), tuple(operands))


def _call(text: str, tree: ast.Call, inner: partial[Node]) -> Node:
    span = _span(text, tree)
    name = tree.func.id if isinstance(tree.func, ast.Name) else ""
    if name not in _FUNCTIONS:
        known = ", ".join(_FUNCTIONS.values())
        raise fault(text, span, f"no such function; there are {known}. Text stands in quotes: 'elu(alpha=0.5)'")
    arguments = [] if tree.keywords else tree.args
    match name, arguments:
        case "like", [ast.Name() | ast.Attribute() as column, ast.Constant(value=str() as pattern)]:
            return Like(span, Column(_span(text, column), _column_name(text, column)), pattern)
        case "abs" | "log10", [operand]:
            return Function(span, name, inner(operand))
    raise fault(text, span, f"{name} is written {_FUNCTIONS[name]}")


def _span(text: str, tree: ast.expr) -> Span:
    # Python counts in bytes of UTF-8.
    encoded = text.encode()
    end = len(encoded) if tree.end_col_offset is None else tree.end_col_offset
    return len(encoded[: tree.col_offset].decode()), len(encoded[:end].decode())
