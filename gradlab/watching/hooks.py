"""Hooks that look at a training from beside: timed, harmless to it, and left behind by copies."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Aside:
    """What is done beside a training: how long it takes, and what went wrong, which must not reach the training.

    Attributes:
        seconds: spent so far.
        failure: the first exception; from then on nothing is done any more.
    """

    seconds: float = 0.0
    failure: Exception | None = None

    def do(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do something, unless something has failed before."""
        if self.failure is not None:
            return
        started = time.perf_counter()
        try:
            work(*arguments)
        except Exception as error:
            self.failure = error
        finally:
            self.seconds += time.perf_counter() - started


class Hook:
    """A callable for torch's hooks: it looks, changes nothing, and stays behind where a module is copied or pickled."""

    def __init__(self, look: Callable[..., None], aside: Aside) -> None:
        self._look, self._aside = look, aside

    def __call__(self, *arguments: Any) -> None:
        """Look, except where a compiler goes through: what it compiles must be as it is without hooks."""
        if not torch.compiler.is_compiling():
            self._aside.do(self._look, *arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # A method that does nothing, of Python's own, so that a saved model can be loaded where there is no gradlab.
        return getattr, (contextlib.nullcontext(), "__exit__")
