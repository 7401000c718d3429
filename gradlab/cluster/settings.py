"""What `--engine ray` is told on the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from gradlab.errors import UsageError

LOCAL = "local"
"""The address of an instance of this process's own, on this machine."""


@dataclass(frozen=True)
class ClusterSettings:
    """Where to train, and what each task may take there.

    Attributes:
        address: `host:port`, `auto` (the cluster that this machine belongs to) or `local`.
        resources: of each task by Ray's names for them: `CPU`, `GPU`, others as the cluster names them.
    """

    address: str = LOCAL
    resources: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1.0})

    @classmethod
    def of(cls, address: str | None, resources: str | None) -> ClusterSettings:
        """The settings that options say.

        Args:
            address: None for that of `RAY_ADDRESS`, else an instance of its own.
            resources: `gpu=0.25` or `cpu=2,gpu=1`; None for one CPU.

        Raises:
            UsageError: Ray is not installed, or a setting that makes no sense.
        """
        if find_spec("ray") is None:
            raise UsageError("--engine ray needs Ray: pip install 'gradlab-runner[ray]'")
        where = address if address is not None else os.environ.get("RAY_ADDRESS") or LOCAL
        if "://" in where:
            told = "is an address of Ray Client or of the jobs API, which gradlab doesn't use"
            raise UsageError(
                f"--ray-address {where}: {told}; start it on a machine of the cluster with host:port or auto"
            )
        if where not in {LOCAL, "auto"} and not (where.rpartition(":")[0] and where.rpartition(":")[2].isdecimal()):
            raise UsageError(f"--ray-address {where}: write host:port, auto or local")
        return cls(where, {"CPU": 1.0} | ({} if resources is None else _parsed(resources)))

    def device(self, wanted: str) -> str:
        """What tasks train on: a GPU where each is given one, or a share of one.

        Args:
            wanted: auto, cpu, cuda or mps.

        Raises:
            UsageError: another device than tasks are given.
        """
        given = "cuda" if self.resources.get("GPU", 0.0) > 0 else "cpu"
        if wanted not in {"auto", given}:
            remedy = "say --resources-per-stack gpu=1, or a share of one" if wanted == "cuda" else "leave out gpu"
            raise UsageError(f"--device {wanted}: tasks on the cluster are given {given} here; {remedy}")
        return given


def _parsed(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for pair in text.split(","):
        name, _, amount = (word.strip() for word in pair.partition("="))
        name = {"cpu": "CPU", "gpu": "GPU"}.get(name.lower(), name)
        try:
            number = float(amount)
        except ValueError:
            number = math.nan
        whole = number <= 1 or number == int(number) if math.isfinite(number) else False
        if not name or name in found or name == "memory" or not whole or number < (0 if name == "CPU" else 1e-4):
            told = "write NAME=AMOUNT, as in gpu=0.25 or cpu=2,gpu=1: at most 1, or a whole number"
            raise UsageError(f"--resources-per-stack {text}: {told} (memory is taken care of)")
        found[name] = number
    return found
