"""Where the parts of a run are trained: on this machine, or on those of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch

from gradlab.bookkeeping import Written
from gradlab.cluster.settings import LOCAL, ClusterSettings
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Part
from gradlab.engine.work import Workshop
from gradlab.execution import Listener, cores, execute, worker_count


@dataclass(frozen=True)
class Here:
    """This machine."""

    device: torch.device
    workers: int | None

    def facts(self, parts: int) -> dict[str, object]:
        """What run.json says of it."""
        return {"device": self.device.type, "workers": worker_count(self.workers, self.device, parts)}

    def execute(
        self,
        parts: Sequence[Part],
        shop: Workshop,
        listener: Listener,
        finish: Callable[[Part, list[TrialHistory]], Written],
        pause: Callable[[], None],
        _note: Callable[[str], object],
    ) -> Generator[tuple[Part, Written]]:
        """What came of the parts, as they come: see `execution.execute`."""
        workers = worker_count(self.workers, self.device, len(parts))
        return execute(parts, shop, self.device, workers, listener, finish, pause)


@dataclass(frozen=True)
class There:
    """A Ray cluster; this process prepares and writes.

    Attributes:
        workers: tasks at the same time; None for as many as there is room for.
        trains_on: cpu or cuda, which this machine need not have.
    """

    settings: ClusterSettings
    workers: int | None
    trains_on: str

    @property
    def device(self) -> torch.device:
        """Where the data are prepared."""
        return torch.device("cpu")

    def facts(self, _parts: int) -> dict[str, object]:
        """What run.json says of it."""
        return {"device": self.trains_on, "workers": self.workers, "engine": "ray"}

    def execute(
        self,
        parts: Sequence[Part],
        shop: Workshop,
        listener: Listener,
        finish: Callable[[Part, list[TrialHistory]], Written],
        pause: Callable[[], None],
        note: Callable[[str], object],
    ) -> Generator[tuple[Part, Written]]:
        """What came of the parts, as they come: see `cluster.engine.execute`."""
        from gradlab.cluster.engine import execute as execute_there

        workers = self.workers or (cores() if self.settings.address == LOCAL else 0)
        return execute_there(parts, shop, self.trains_on, self.settings, workers, listener, finish, pause, note)
