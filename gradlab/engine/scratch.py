"""Memory that is used again and again."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from gradlab.engine.convolution import Workspace


class Scratch:
    """Memory by name; who takes a name overwrites what was left there.

    Several users that work one after another share it: it then stays in the processor's cache.

    Attributes:
        workspaces: for convolutions, by rows and channels in and out.
    """

    def __init__(self, precision: torch.dtype, device: torch.device) -> None:
        self._precision, self._device = precision, device
        self._storage: dict[str, Tensor] = {}
        self.workspaces: dict[tuple[int, int, int], Workspace] = {}
        self._views: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def take(self, name: str, *size: int) -> Tensor:
        """Memory of this size, uninitialised; the same for the same name and size, as long as none is larger."""
        key = (name, size)
        if key not in self._views:
            count = prod(size)
            if name not in self._storage or self._storage[name].numel() < count:
                self._storage[name] = torch.empty(count, dtype=self._precision, device=self._device)
                self._views = {known: view for known, view in self._views.items() if known[0] != name}
            self._views[key] = self._storage[name][:count].view(size)
        return self._views[key]
