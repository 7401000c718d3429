"""What a module consists of beside the numbers in its parameters and buffers, as one digest."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class UnclearStateError(Exception):
    """A module refers to something that can't be told apart, or that isn't its own."""


def state_digest(model: nn.Module) -> str:
    """Equal for two models whose structure, settings and everything else that they keep on themselves are equal.

    Of parameters and buffers it takes the names, shapes and types, and which of them are shared.

    Raises:
        UnclearStateError: where that can't be told.
    """
    walk = _Walk(model)
    for name, module in model.named_modules(remove_duplicate=False):
        walk.add(name)
        walk.visit(type(module))
        walk.visit({key: value for key, value in vars(module).items() if key not in _TABLES})
        for table in _TABLES[:2]:
            walk.visit(vars(module)[table])
    return walk.digest.hexdigest()


_TABLES = ("_parameters", "_buffers", "_modules")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, np.generic)


class _Walk:
    """A depth-first walk through everything that is reached from a model."""

    def __init__(self, model: nn.Module) -> None:
        self.digest = hashlib.sha256()
        self._modules = {id(module): name for name, module in model.named_modules()}
        self._tensors: dict[int, str] = {}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self._tensors[id(tensor)] = f"{name} {tuple(tensor.shape)} {tensor.dtype} {tensor.requires_grad}"
        self._seen: dict[int, int] = {}
        self._held: list[Any] = []

    def add(self, text: str) -> None:
        self.digest.update(text.encode() + b"\0")

    def visit(self, value: Any) -> None:
        if isinstance(value, _PLAIN):
            self.add(f"{type(value).__name__} {value!r}")
        elif id(value) in self._tensors:
            self.add(f"own tensor {self._tensors[id(value)]}")
        elif id(value) in self._modules:
            self.add(f"own module {self._modules[id(value)]}")
        elif id(value) in self._seen:
            self.add(f"seen {self._seen[id(value)]}")
        else:
            # What is seen is kept alive, since another object might take its id.
            self._held.append(value)
            self._seen[id(value)] = len(self._seen)
            self.add(f"{type(value).__module__}.{type(value).__qualname__}")
            for part in self._parts(value):
                self.visit(part)

    def _parts(self, value: Any) -> Iterator[Any]:
        """What an object consists of."""
        if isinstance(value, nn.Module):
            raise UnclearStateError("it refers to a module outside of itself")
        if isinstance(value, Tensor):
            yield from self._parts_of_tensor(value)
        elif isinstance(value, np.ndarray):
            yield from (value.shape, value.dtype.str, value.tobytes() if value.dtype != object else value.tolist())
        elif isinstance(value, Mapping):
            for key, one in value.items():
                yield from (key, one)
        elif isinstance(value, list | tuple):
            yield from (len(value), *value)
        elif isinstance(value, set | frozenset):
            yield sorted(map(repr, value))
        elif isinstance(value, type):
            yield from (value.__module__, value.__qualname__)
            if "<locals>" in value.__qualname__:
                yield from (one for one in vars(value).values() if isinstance(one, types.FunctionType))
        elif isinstance(value, types.FunctionType):
            yield from (value.__module__, value.__qualname__, value.__code__.co_code, value.__code__.co_firstlineno)
            yield from (value.__defaults__, value.__kwdefaults__, *map(_contents, value.__closure__ or ()))
        elif isinstance(value, types.MethodType):
            yield from (value.__func__, value.__self__)
        elif isinstance(value, types.ModuleType):
            yield value.__name__
        elif isinstance(value, torch.Generator):
            yield value.get_state()
        else:
            yield from self._reduced(value)

    def _parts_of_tensor(self, value: Tensor) -> Iterator[Any]:
        if value.requires_grad:
            raise UnclearStateError("it keeps a tensor with a gradient that is no parameter of it")
        yield from (tuple(value.shape), str(value.dtype))
        yield value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()

    def _reduced(self, value: Any) -> Iterator[Any]:
        """What pickle would keep of any other object; of builtin functions and the like, their names."""
        try:
            reduced = value.__reduce_ex__(2)
        except Exception as error:
            raise UnclearStateError(f"it keeps a {type(value).__name__}") from error
        if isinstance(reduced, str):
            yield reduced
            return
        for part in reduced:
            yield list(part) if isinstance(part, Iterator) else part


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None
