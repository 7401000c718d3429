"""`python -m benchmarks.speed.plain TRIALS.json OUT.npz [DEVICE]`: train the trials of a file, one after another.

The file holds a JSON list of `Trial` fields; what was recorded is written as arrays. One thread.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.plain.networks import Trial, load_digits
from benchmarks.speed.plain.training import train


def main() -> None:
    """Train, then write."""
    torch.set_num_threads(1)
    file, out, *device = sys.argv[1:]
    trials = [Trial(**fields) for fields in json.loads(Path(file).read_text())]
    data = load_digits().to(torch.device(*device or ("cpu",)))
    arrays: dict[str, Any] = {}
    for index, trial in enumerate(trials):
        history = train(trial, data)
        arrays[f"steps_{index}"] = history.step_values.numpy()
        arrays[f"layers_{index}"] = history.layer_values.numpy()
        arrays[f"finals_{index}"] = history.finals.cpu().numpy()
    np.savez(out, **arrays)


if __name__ == "__main__":
    main()
