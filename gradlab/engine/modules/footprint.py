"""The tensors that a stack's forward and backward pass makes, seen one by one below autograd and vmap."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten

_EXACT = {
    *(_ATEN.add, _ATEN.add_, _ATEN.sub, _ATEN.rsub, _ATEN.mul, _ATEN.mul_, _ATEN.div, _ATEN.neg, _ATEN.abs, _ATEN.sqrt),
    *(_ATEN.relu, _ATEN.threshold_backward, _ATEN.maximum, _ATEN.minimum, _ATEN.clamp, _ATEN.clamp_min, _ATEN.where),
    *(_ATEN.clone, _ATEN.copy_, _ATEN._to_copy, _ATEN.cat, _ATEN.stack, _ATEN.constant_pad_nd, _ATEN.fill_),
    *(_ATEN.zeros, _ATEN.ones, _ATEN.zeros_like, _ATEN.ones_like, _ATEN.new_zeros, _ATEN.empty, _ATEN.empty_like),
    *(_ATEN.bmm, _ATEN.baddbmm),
}
"""Operators whose numbers don't depend on where in a buffer they stand: rounded once, only moved, or batched products.

(A sum with a factor, a + c b, is rounded once or twice, and isn't meant here.)"""

_WITHIN = {_ATEN.sum, _ATEN.mean}
"""Reductions: of a trial's own numbers they go through each trial apart."""

_MIXING = {_ATEN.mm, _ATEN.addmm, _ATEN.mv, _ATEN.addmv, _ATEN.dot}
"""Products that take the rows of all trials for those of one matrix: a row's bits may depend on how many there are."""


class Footprint(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a stack of `trials` equal trials makes while this is entered.

    Attributes:
        smallest: the least number of elements of one trial that stand side by side in a result whose rounding may
            depend on the place: kernels treat the last elements of a buffer differently.
        largest: elements of one trial in the largest result.
        total: elements of one trial in all results.
        mixing: a product that rows of several trials went through as one matrix, if there was one.
    """

    def __init__(self, trials: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trials = trials
        self.smallest = sys.maxsize
        self.largest = self.total = 0
        self.mixing: str | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Skipping it means importing torch's compiler, which takes a second.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and look at what it made."""
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        if func.is_view:
            return results
        made = [one for one in (results if isinstance(results, list | tuple) else [results]) if isinstance(one, Tensor)]
        for tensor in made:
            self.largest = max(self.largest, tensor.numel() // self.trials)
            self.total += tensor.numel() // self.trials
        operator = func.overloadpacket
        if operator in _MIXING:
            self.mixing = str(operator)
        exact = operator in _EXACT and kwargs.get("alpha", 1) == 1
        if not exact and not (operator in _WITHIN and self._stands_apart(*args)):
            for tensor in made:
                self.smallest = min([self.smallest, *self._side_by_side(tensor)])
        return results

    def _side_by_side(self, tensor: Tensor) -> list[int]:
        """Elements of one trial that stand side by side, for each dimension that may be the trials'."""
        if not tensor.is_floating_point():
            return []
        pairs = zip(tensor.shape, tensor.stride(), strict=True)
        return [size // self.trials * stride for size, stride in pairs if size % self.trials == 0 and stride > 0]

    def _stands_apart(self, tensor: Tensor, dimensions: Sequence[int] | None = None, *_: Any) -> bool:
        """Whether trials are a dimension of their own, the outermost, that is not summed over."""
        if not dimensions or not tensor.ndim:
            return False
        outermost = max(range(tensor.ndim), key=lambda dimension: tensor.stride(dimension))
        kept = outermost not in {dimension % tensor.ndim for dimension in dimensions}
        return kept and tensor.shape[outermost] == self.trials
