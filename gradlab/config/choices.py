"""Choices by name: activations and initialisations with their parameters, and the user's own functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

ACTIVATIONS: dict[str, dict[str, float]] = {
    "linear": {},
    "sigmoid": {},
    "tanh": {},
    "relu": {},
    "leaky_relu": {"negative_slope": 0.01},
    "elu": {"alpha": 1.0},
    "selu": {},
    "gelu": {},
    "silu": {},
    "softplus": {"beta": 1.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
}
"""Activation name -> its parameters with torch's defaults."""

INITS: dict[str, dict[str, float]] = {
    "pytorch_default": {},
    "xavier_normal": {},
    "xavier_uniform": {},
    "he_normal": {},
    "he_uniform": {},
    "lecun_normal": {},
    "orthogonal": {},
    "normal": {"sigma_w": 1.0, "sigma_b": 0.0},
}
"""Initialisation name -> its parameters; `normal` has Var(W) = sigma_w^2 / fan_in, Var(b) = sigma_b^2."""

_NOT_NEGATIVE = ("sigma_w", "sigma_b")
_POSITIVE = ("beta",)

_FUNCTION_PATH = re.compile(r"(?P<module>[^:\n]+\.py|[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Choice:
    """A named choice with parameters, such as `leaky_relu(negative_slope=0.2)`.

    `parameters` holds every parameter of the choice, defaults filled in, so that equal choices compare equal.
    """

    name: str
    parameters: tuple[tuple[str, float], ...] = ()
    defaults: tuple[tuple[str, float], ...] = ()

    @property
    def label(self) -> str:
        """The choice as tables show it; a parameter at its default is not written."""
        shown = [f"{key}={_plain(value)}" for key, value in self.parameters if (key, value) not in self.defaults]
        return f"{self.name}({', '.join(shown)})" if shown else self.name

    @property
    def is_function(self) -> bool:
        """Whether this names the user's own `file.py:function`."""
        return ":" in self.name

    def as_yaml(self) -> Any:
        """The choice as it stands in a config: a name, or a mapping where it has parameters."""
        return {"name": self.name, **dict(self.parameters)} if self.parameters else self.name


def _plain(value: float) -> str:
    return repr(value).removesuffix(".0")


def is_function_path(text: str) -> bool:
    """Whether `text` reads `file.py:function` or `package.module:function`."""
    return _FUNCTION_PATH.fullmatch(text) is not None


def parameter_error(key: str, value: Any) -> PydanticCustomError | None:
    """What is wrong with `value` as a choice's parameter `key`, if anything is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        return PydanticCustomError("choice_value", "must be a finite number", {"key": key})
    if key in _NOT_NEGATIVE and value < 0:
        return PydanticCustomError("choice_value", "must be at least 0", {"key": key})
    if key in _POSITIVE and value <= 0:
        return PydanticCustomError("choice_value", "must be above 0", {"key": key})
    return None


def choice_errors(value: Any, table: dict[str, dict[str, float]]) -> list[PydanticCustomError]:
    """Everything wrong with `value` as a choice from `table`; functions are allowed beside ACTIVATIONS only."""
    given = dict(value) if isinstance(value, dict) else {"name": value}
    name = given.pop("name", None)
    functions = table is ACTIVATIONS
    names = ", ".join(table) + (" or file.py:function" if functions else "")
    if name is None and isinstance(value, dict):
        return [PydanticCustomError("choice_name", "needs a name, one of {expected}", {"expected": names})]
    is_function = functions and isinstance(name, str) and is_function_path(name)
    if not is_function and (not isinstance(name, str) or name not in table):
        context = {"expected": names, "candidates": list(table), "given": name}
        return [PydanticCustomError("choice_unknown", "must be one of {expected}", context)]
    known = {} if is_function else table[name]
    unknown = [
        PydanticCustomError(
            "choice_parameter",
            "{name} has no parameter '{key}'; it takes {known}",
            {"name": name, "key": key, "known": ", ".join(known) or "none", "candidates": list(known)},
        )
        for key in given
        if key not in known
    ]
    checked = [parameter_error(key, setting) for key, setting in given.items() if key in known]
    wrong = [error for error in checked if error]
    if name == "hardtanh" and not wrong:
        limits = known | {key: setting for key, setting in given.items() if key in known}
        if limits["min_val"] >= limits["max_val"]:
            wrong = [PydanticCustomError("choice_value", "must be below max_val", {"key": "min_val"})]
    return unknown + wrong


def _choice(value: Any, table: dict[str, dict[str, float]]) -> Choice:
    if isinstance(value, Choice):
        return value
    for error in choice_errors(value, table):
        raise error
    given = value if isinstance(value, dict) else {"name": value}
    defaults = table.get(given["name"], {})
    filled = tuple((key, float(given.get(key, default))) for key, default in defaults.items())
    return Choice(given["name"], filled, tuple(defaults.items()))


def _choice_schema(table: dict[str, dict[str, float]], functions: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {"enum": list(table)}
    variants = [plain, *({"type": "string", "pattern": r"^.+:\w+$"} for _ in range(functions))]
    for name, parameters in table.items():
        properties = {key: {"type": "number", "default": default} for key, default in parameters.items()}
        variants.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, **properties},
                "required": ["name"],
                "additionalProperties": False,
            }
        )
    return {"anyOf": variants}


Activation = Annotated[
    Choice,
    PlainValidator(lambda value: _choice(value, ACTIVATIONS)),
    PlainSerializer(lambda choice: choice.as_yaml()),
    WithJsonSchema(_choice_schema(ACTIVATIONS, functions=True)),
]
Init = Annotated[
    Choice,
    PlainValidator(lambda value: _choice(value, INITS)),
    PlainSerializer(lambda choice: choice.as_yaml()),
    WithJsonSchema(_choice_schema(INITS, functions=False)),
]


def check_function_path(text: str) -> str:
    """`text` itself if it reads `file.py:function`; a validator's error if not."""
    if not is_function_path(text):
        raise PydanticCustomError("function_path", "must read file.py:function or package.module:function")
    return text
