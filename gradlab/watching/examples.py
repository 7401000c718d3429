"""How many examples a model was called with."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def count_examples(inputs: Any, output: Any, dimension: int) -> int | None:
    """Examples that a call was about, None if no tensor tells: the count that most of its tensors have in common.

    Masks and positions that all examples share have another; where counts tie, an output's counts.

    Args:
        inputs, output: tensors, packed sequences, and tuples, lists, mappings and dataclasses of them.
        dimension: of a tensor, the one that counts examples.
    """
    counts = [*_counts(output, dimension), *_counts(inputs, dimension)]
    return Counter(counts).most_common(1)[0][0] if counts else None


def _counts(value: Any, dimension: int) -> Iterator[int]:
    if isinstance(value, Tensor):
        if value.ndim:
            yield value.shape[min(dimension, value.ndim - 1)]
    elif isinstance(value, PackedSequence):
        yield int(value.batch_sizes[0])
    else:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = vars(value)
        if isinstance(value, Mapping):
            value = tuple(value.values())
        for one in value if isinstance(value, tuple | list) else ():
            yield from _counts(one, dimension)
