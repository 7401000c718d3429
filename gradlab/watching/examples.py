"""How many examples a model was called with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def count_examples(value: Any, dimension: int) -> int | None:
    """Examples of the first tensor in a model's arguments, None if there is no tensor.

    Args:
        value: tensors, packed sequences, and tuples, lists, mappings and dataclasses of them.
        dimension: of a tensor, the one that counts examples.
    """
    if isinstance(value, Tensor):
        return value.shape[min(dimension, value.ndim - 1)] if value.ndim else None
    if isinstance(value, PackedSequence):
        return int(value.batch_sizes[0])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((count for count in (count_examples(one, dimension) for one in value) if count is not None), None)
    return None
