"""The engine against JAX on one core, side by side. JAX has an environment of its own (`make bench-jax`)."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.speed.cases import LEARNING_RATES, Case, as_plain, digits
from benchmarks.speed.in_process import first_stack, run_engine
from benchmarks.speed.plain.networks import Digits, build
from benchmarks.speed.plain.training import minibatches
from benchmarks.speed.processes import environment
from benchmarks.speed.report import Report, Wanted, micro, spread
from gradlab.config.sweep import Trial
from gradlab.engine.stacks import Stack
from gradlab.engine.tasks import Task

ROUNDS = 5
WIDTHS, QUICK_WIDTHS = (16, 32, 64, 128, 256), (16, 64)
STEPS = 51
TRIALS = 1024
LARGEST, ELEMENTS = 32, 4096
"""Trials of a stack in JAX, at most; and trials times width."""

FORMS: tuple[dict[str, Any], ...] = tuple(
    {"layers": layers, "trials": trials, "stack": stack}
    for layers, trials, stacks in (
        ("unrolled", "vmap", (4, 8, 16, 32)),
        ("unrolled", "map", (8,)),
        ("scanned", "map", (8,)),
    )
    for stack in stacks
)
"""How JAX is tried: layers written out or as a scan, trials side by side or in turn, how many. The best is taken."""

ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
AGREEMENT = 1e-3
HEADERS = ("width", "optimizer", "JAX us", "gradlab us", "ratio", "lowest", "highest", "JAX's form", "compiled in")


@dataclass(frozen=True)
class Found:
    """What was measured of a case: JAX's answer to it, and pairs of seconds per trial and step, JAX's first."""

    form: Mapping[str, Any]
    compile_seconds: float
    pairs: list[tuple[float, float]]


def measure(wanted: Wanted) -> list[Report]:
    """Every width and optimizer: JAX and the engine in turn."""
    title = "Against JAX"
    if not wanted.jax_python.exists():
        return [Report(title, f"Skipped: there is no {wanted.jax_python}; `make bench-jax` makes it.", HEADERS, [], [])]
    task, data = digits()
    found: dict[tuple[int, str], Found] = {}
    version = ""
    with tempfile.TemporaryDirectory() as folder, _jax(wanted.jax_python) as jax:
        for width in QUICK_WIDTHS if wanted.quick else WIDTHS:
            for optimizer in LEARNING_RATES:
                wanted.told(f"JAX: width {width}, {optimizer}")
                stack = first_stack(Case(TRIALS, width, optimizer=optimizer, steps=STEPS).expanded(), task)
                answer = jax.ask(_job(stack.trials, data, Path(folder, "arrays.npz"), wanted.quick))
                _compare(answer["losses"], stack, task)
                pairs = []
                for _ in range(wanted.count(ROUNDS, 2)):
                    laps, _histories = run_engine(stack, task)
                    pairs.append((jax.ask({})["seconds"], laps.between(0, STEPS - 1).processor))
                found[width, optimizer] = Found(answer["form"], answer["compile_seconds"], pairs)
                version = answer["jax"]
    note = (
        f"jax {version}: `jit(scan(vmap(grad)))` with the norms of the weight gradients at every step; the best of "
        f"{len(_forms(16, wanted.quick))} forms for every case, compile time apart. gradlab: its first stack, all "
        "columns every 10 steps. Depth 10, batch 64, the same weights and minibatches. Per trial and step on one core, "
        "by the processor's clock."
    )
    return [Report(title, note, HEADERS, [_row(*key, one) for key, one in found.items()], _measured(found))]


def _row(width: int, optimizer: str, found: Found) -> list[str]:
    jax, engine = (statistics.median(pair[side] for pair in found.pairs) for side in (0, 1))
    form = f"{found.form['layers']}, {found.form['trials']} of {found.form['stack']}"
    ratios = spread([theirs / ours for theirs, ours in found.pairs])
    return [str(width), optimizer, micro(jax), micro(engine), *ratios, form, f"{found.compile_seconds:.1f} s"]


def _measured(found: Mapping[tuple[int, str], Found]) -> list[dict[str, Any]]:
    return [
        {"width": width, "optimizer": optimizer, "form": one.form, "jax_and_engine": one.pairs}
        for (width, optimizer), one in found.items()
    ]


@dataclass(frozen=True)
class _Jax:
    """The program of `jax_training.py`."""

    process: subprocess.Popen[str]

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer.

        Raises:
            RuntimeError: it has ended.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the program has no pipes")
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the JAX side has ended; its own message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def _jax(python: Path) -> Iterator[_Jax]:
    program = Path(__file__).with_name("jax_training.py")
    command, pipe = [str(python), str(program)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment() | ONE_THREAD) as process:
        yield _Jax(process)
        if process.stdin is not None:
            process.stdin.close()


def _forms(width: int, quick: bool) -> list[dict[str, Any]]:
    fitting = [form for form in FORMS if form["stack"] * width <= ELEMENTS]
    return fitting[:2] if quick else fitting


def _job(trials: Sequence[Trial], data: Digits, file: Path, quick: bool) -> dict[str, Any]:
    """Weights, minibatches and data in a file, and what to do with them. More trials than the engine stacks repeat."""
    own = [as_plain(trials[index % len(trials)]) for index in range(LARGEST)]
    x = data.x_train.flatten(1)
    networks = [build(trial, x.shape[1], data.classes) for trial in own]
    arrays: dict[str, Any] = {"x": x.numpy(), "y": data.y_train.numpy().astype(np.int32)}
    linears = [[module for module in network if isinstance(module, nn.Linear)] for network in networks]
    for layer, same in enumerate(zip(*linears, strict=True)):
        arrays[f"weight_{layer}"] = torch.stack([one.weight.detach().t() for one in same]).numpy()
        arrays[f"bias_{layer}"] = torch.stack([one.bias.detach() for one in same]).numpy()
    batches = [torch.stack(list(islice(minibatches(len(x), one.batch_size, one.seed), one.steps))) for one in own]
    arrays["indices"] = torch.stack(batches, 1).numpy().astype(np.int32)
    np.savez(file, **arrays)
    settings = {"optimizer": own[0].optimizer, "lr": own[0].lr, "forms": _forms(own[0].width, quick)}
    return {"arrays": str(file), **settings}


def _compare(losses: Sequence[float], stack: Stack, task: Task) -> None:
    """Hold JAX's losses of the first trial against the engine's, while rounding has not grown.

    Raises:
        RuntimeError: the two sides don't do the same work.
    """
    _, histories = run_engine(stack, task)
    steps, expected = histories[0].steps[:2], histories[0].step_values["train_loss"][:2]
    for step, loss in zip(steps, expected, strict=True):
        if not math.isclose(losses[step], loss, rel_tol=AGREEMENT):
            raise RuntimeError(f"step {step}: JAX's loss is {losses[step]}, the engine's {loss}")
