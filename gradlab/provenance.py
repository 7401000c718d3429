"""What made a run: versions, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from gradlab import __version__


def provenance(directory: Path) -> dict[str, Any]:
    """The facts of `run.json` about what numbers depend on beside the settings.

    Args:
        directory: whose git commit is meant.
    """
    return {
        "gradlab": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "git_commit": git_commit(directory),
    }


def recording_cost(training_seconds: float, recording_seconds: float) -> dict[str, float | None]:
    """What recording cost, beside the training itself."""
    training, recording = round(training_seconds, 3), round(recording_seconds, 3)
    return {
        "training_seconds": training,
        "recording_seconds": recording,
        "recording_per_training": round(recording / training, 4) if training else None,
    }


def git_commit(directory: Path) -> str | None:
    """The commit that `directory` is at, with `-dirty` where files differ from it; None outside a repository.

    A repository's own settings may name programs to run (githooks, a file system monitor): they are not.
    """
    command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"]
    command += ["--no-optional-locks", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
