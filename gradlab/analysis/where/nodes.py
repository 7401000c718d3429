"""What a condition on trials is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as Choice
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""First character and the one after the last, in the text of the condition."""


@dataclass(frozen=True)
class Literal:
    """A number, a text, true, false or null."""

    span: Span
    value: int | float | str | bool | None


@dataclass(frozen=True)
class Column:
    """A column of the trials table."""

    span: Span
    name: str


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers joined by one of + - * /."""

    span: Span
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Function:
    """A function of one number: `-`, `abs` or `log10`."""

    span: Span
    name: str
    operand: Node


@dataclass(frozen=True)
class Like:
    """Whether a text column matches a pattern such as `leaky*`."""

    span: Span
    column: Column
    pattern: str


@dataclass(frozen=True)
class Comparison:
    """A chain such as `2 < depth <= 10`: every neighbouring pair of operands must satisfy the operator between them."""

    span: Span
    operators: tuple[str, ...]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Membership:
    """Whether a value is one of a list, or, negated, none of it."""

    span: Span
    operand: Node
    items: tuple[Literal, ...]
    negated: bool


@dataclass(frozen=True)
class Not:
    """What does not satisfy the condition."""

    span: Span
    operand: Node


@dataclass(frozen=True)
class Joined:
    """Conditions joined by `and` or by `or`."""

    span: Span
    word: Choice["and", "or"]
    operands: tuple[Node, ...]


Node: TypeAlias = Literal | Column | Arithmetic | Function | Like | Comparison | Membership | Not | Joined


def is_null(node: Node) -> bool:
    """Whether this is the literal None."""
    return isinstance(node, Literal) and node.value is None


def columns_of(node: Node) -> tuple[Column, ...]:
    """The columns that a condition uses, in order of appearance, each as often as it appears."""
    match node:
        case Column():
            return (node,)
        case Like(column=column):
            return (column,)
        case Function(operand=operand) | Membership(operand=operand) | Not(operand=operand):
            return columns_of(operand)
        case Arithmetic(left=left, right=right):
            return columns_of(left) + columns_of(right)
        case Comparison(operands=operands) | Joined(operands=operands):
            return tuple(column for operand in operands for column in columns_of(operand))
    return ()
