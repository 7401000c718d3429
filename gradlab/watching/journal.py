"""The records of a watched training on their way into its run directory."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from torch import nn

from gradlab.config.schema import Diagnosis
from gradlab.engine.draws import weight_print
from gradlab.engine.history import LAYER, LayerInfo, TrialHistory
from gradlab.engine.modules.layers import ACTIVATION_MODULES, activation_of, all_weights, layers_of
from gradlab.engine.modules.record import STATISTICS
from gradlab.engine.modules.statistics import trainable_parameters
from gradlab.store.tables import STEPS, TRIALS, column_type, schema
from gradlab.store.watched import WatchedRun
from gradlab.tabulate import layers_table, measured_columns, steps_table

_PAUSE = 1.0
"""Seconds between two flushes at least."""

_SHARE = 0.02
"""Share of the time since the beginning that may lie between two flushes: so long trainings make few files."""

_TOLL = 100.0
"""A flush takes place no sooner than after so many times what the last one took."""

_LONGEST = 300.0
"""Seconds between two flushes at most, however long the training: what waits is lost where the process is killed."""

_MOST = 20_000
"""Rows that wait for a flush at most, some 25 MB, however short the steps."""


@dataclass(frozen=True)
class Record:
    """One recorded step: the values of each layer's row, and those of the steps table as far as they are known."""

    step: int
    layers: tuple[LayerInfo, ...] = ()
    rows: tuple[Mapping[str, float], ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)


class Journal:
    """Writes the records of one training: rows in files that are never touched again, its trial anew each time.

    Args:
        run: the directory.
        trial_id: names the training's files, claimed in `claim`.
        facts: the factor columns of its row in the trials table.
        model: before any update.
    """

    def __init__(
        self, run: WatchedRun, trial_id: str, claim: ExitStack, facts: Mapping[str, Any], model: nn.Module
    ) -> None:
        self._run, self.trial_id, self._claim = run, trial_id, claim
        self.facts = dict(facts)
        self.error: str | None = None
        self._parameters = trainable_parameters(model)
        self._prints = {name: weight_print(all_weights(layer)).item() for name, layer in layers_of(model).items()}
        activations = [activation_of(module) for module in model.modules() if isinstance(module, ACTIVATION_MODULES)]
        self._never_zero = all(activation.zero_derivative is None for activation in activations)
        self._pending: list[Record] = []
        self._rows = 0
        self._first: Record | None = None
        self._last: Record | None = None
        self._diverged: int | None = None
        self._number = 0
        self._began = self._flushed = time.monotonic()
        self._took = 0.0

    def add(self, record: Record) -> None:
        """Take a record; it is written with the next flush."""
        self._pending.append(record)
        self._rows += len(record.rows)
        if record.layers:
            self._first = self._first or record
            self._last = record

    def amend(self, step: int, values: Mapping[str, float]) -> None:
        """Add values of the steps table to the record of a step that was just made, or make one of them."""
        last = self._pending[-1] if self._pending else None
        if last is None or last.step != step:
            self.add(Record(step, values=values))
        else:
            self._pending[-1] = replace(last, values={**last.values, **values})

    def lacks(self, name: str, step: int) -> bool:
        """Whether the record of a step was just made and has no value of this name."""
        last = self._pending[-1] if self._pending else None
        return last is not None and last.step == step and name not in last.values

    @property
    def is_empty(self) -> bool:
        """Whether nothing was recorded."""
        return self._number == 0 and not self._pending

    @property
    def is_due(self) -> bool:
        """Whether it is time to flush: at once after the first record, then at intervals, or when many rows wait."""
        now = time.monotonic()
        pause = min(max(_PAUSE, _SHARE * (now - self._began), _TOLL * self._took), _LONGEST)
        at_once = self._number == 0 or self._rows >= _MOST
        return bool(self._pending) and (at_once or now - self._flushed >= pause)

    def flush(self, finals: Mapping[str, float]) -> None:
        """Write what is pending, and the trial as it stands.

        Args:
            finals: the last losses and metric that are known.

        Raises:
            MachineError: the machine said no.
        """
        if self.is_empty:
            return
        started = time.monotonic()
        broken = (record.step for record in self._pending if _is_broken(record))
        self._diverged = next(broken, None) if self._diverged is None else self._diverged
        histories = [_history(self.trial_id, records) for records in _alike(self._pending)]
        if histories:
            self._run.write_rows(self.trial_id, self._number, steps_table(histories), layers_table(histories))
            if self._number == 0 and self._first is not None:
                names = [info.name for info in self._first.layers if info.kind == LAYER]
                prints = [self._prints[name] for name in names]
                self.tell({"weight_prints": {self.trial_id: prints}})
            self._number += 1
            self._pending, self._rows = [], 0
        self._run.replace_trials(self.trial_id, self._trial(finals))
        self._flushed = time.monotonic()
        # The first one loads libraries, and says little of the next.
        self._took = self._flushed - started if self._number > 1 else 0.0

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Add facts to the run's `run.json`.

        Raises:
            MachineError: the machine said no.
        """
        self._run.update_info(facts)

    def close(self) -> None:
        """Let others write under this name."""
        self._claim.close()

    def _trial(self, finals: Mapping[str, float]) -> pa.Table:
        ends = [record for record in (self._first, self._last) if record is not None]
        if len(ends) == 2 and (ends[0] is ends[1] or ends[0].layers != ends[1].layers):
            ends = ends[:1]
        seen = _history(self.trial_id, ends) if ends else TrialHistory(self.trial_id)
        seen = replace(
            seen,
            finals={f"final_{name}": value for name, value in finals.items()},
            parameters=self._parameters,
            diverged_step=self._diverged,
            error=self.error,
            never_zero=self._never_zero,
        )
        row = {
            "trial_id": self.trial_id,
            "run": self._run.path.name,
            **self.facts,
            **measured_columns(seen, Diagnosis()),
        }
        extra = {name: column_type([value]) for name, value in self.facts.items() if name not in TRIALS}
        return pa.Table.from_pylist([row], schema=schema("trials", extra))


def _is_broken(record: Record) -> bool:
    """Whether the training had diverged at this step: its loss or its weights were no finite numbers."""
    weights = [row["weight_norm"] for row in record.rows if "weight_norm" in row]
    return not all(map(math.isfinite, [record.values.get("train_loss", 0.0), *weights]))


def _alike(records: list[Record]) -> list[list[Record]]:
    """Records in runs of the same layers."""
    runs: list[list[Record]] = []
    for record in records:
        if not runs or runs[-1][0].layers != record.layers:
            runs.append([])
        runs[-1].append(record)
    return runs


def _history(trial_id: str, records: list[Record]) -> TrialHistory:
    """Records of the same layers as a history."""
    layers = records[0].layers
    shape = (len(records), len(layers))
    values = {
        name: np.array([[row.get(name, math.nan) for row in record.rows] for record in records], float).reshape(shape)
        for name in STATISTICS
    }
    absent = {
        name: np.array([[name not in row for row in record.rows] for record in records], bool).reshape(shape)
        for name in STATISTICS
    }
    logged = [name for name in STEPS if name not in {"trial_id", "step"}]
    return TrialHistory(
        trial_id=trial_id,
        layers=layers,
        steps=tuple(record.step for record in records),
        step_values={name: np.array([record.values.get(name, math.nan) for record in records]) for name in logged},
        not_logged={name: np.array([name not in record.values for record in records]) for name in logged},
        layer_values=values,
        meaningless=absent,
    )
