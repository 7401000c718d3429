"""Which examples train and which evaluate: the same that scikit-learn's `train_test_split` picks, without its import.

Importing scikit-learn, and scipy behind it, takes as long as importing torch. What is drawn here, and in which order,
is part of what a `split_seed` means; `tests/engine/test_splits.py` holds both against each other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def split_indices(
    count: int, eval_fraction: float, seed: int, classes: NDArray[Any] | None = None
) -> tuple[Indices, Indices]:
    """The examples to train on and those to evaluate on, shuffled.

    Args:
        count: examples in all; the share to evaluate on is rounded up.
        classes: of each example [example], where every class is to have its share in both.

    Raises:
        ValueError: too few examples for that.
    """
    held_out = math.ceil(eval_fraction * count)
    kept = count - held_out
    if kept == 0:
        raise ValueError(f"no example of {count} would be left to train on")
    random = np.random.RandomState(seed)
    if classes is None:
        order = random.permutation(count)
        return order[held_out:], order[:held_out]
    _, members, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    _check(sizes, kept, held_out)
    by_class = np.split(np.argsort(members, kind="stable"), np.cumsum(sizes)[:-1])
    kept_of = _shares(sizes, kept, random)
    held_out_of = _shares(sizes - kept_of, held_out, random)
    trained, evaluated = [], []
    for examples, first, second in zip(by_class, kept_of, held_out_of, strict=True):
        shuffled = examples[random.permutation(len(examples))]
        trained.append(shuffled[:first])
        evaluated.append(shuffled[first : first + second])
    return random.permutation(np.concatenate(trained)), random.permutation(np.concatenate(evaluated))


def _check(sizes: Indices, kept: int, held_out: int) -> None:
    if sizes.min() < 2:
        raise ValueError("a class has one example only; each of the classes needs two, to train and to evaluate on")
    for share, purpose in ((kept, "train"), (held_out, "evaluate")):
        if share < len(sizes):
            raise ValueError(
                f"{share} of {sizes.sum()} examples to {purpose} on are fewer than the {len(sizes)} classes"
            )


def _shares(sizes: Indices, wanted: int, random: np.random.RandomState) -> Indices:
    """How many of `wanted` examples come from each class: in proportion, the largest remainders rounded up.

    Chance decides among equal remainders where not all of them can be.
    """
    exact = sizes / sizes.sum() * wanted
    shares = np.floor(exact)
    remainders = exact - shares
    missing = int(wanted - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        # All of them are drawn, too, where all are taken: the random stream moves on.
        taken = random.choice(equal, size=min(len(equal), missing), replace=False)
        shares[taken] += 1
        missing -= len(taken)
    whole: Indices = shares.astype(np.int64)
    return whole
