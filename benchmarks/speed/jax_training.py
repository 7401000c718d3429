"""The expert's alternative: many networks at once in JAX, `jit(scan(vmap(grad)))`. A program for JAX's environment.

It reads a line of JSON at a time and answers with one. `{"arrays": FILE, "optimizer": ..., "lr": ..., "forms": [...]}`
compiles every form, chooses the quickest and says so; `{}` times the chosen form once more. It needs jax and numpy.
The parameters of a stack are a list of (weight [trial, fan_in, fan_out], bias [trial, fan_out]); the norms of all
weight gradients are kept at every step.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

Tree = Any
"""Arrays in lists and tuples."""

tree_map = jax.tree_util.tree_map


def unrolled_loss(parameters: Tree, x: Any, y: Any) -> Any:
    """Cross-entropy of one network, every layer written out."""
    h = x
    for weight, bias in parameters[:-1]:
        h = jax.nn.relu(h @ weight + bias)
    return cross_entropy(h, parameters[-1], y)


def scanned_loss(parameters: Tree, x: Any, y: Any) -> Any:
    """The same with the hidden layers from the second on as one scan: ((w, b), ([layer, ...]), (w, b))."""
    (first, first_bias), hidden, output = parameters
    h = jax.nn.relu(x @ first + first_bias)
    h, _ = lax.scan(lambda h, layer: (jax.nn.relu(h @ layer[0] + layer[1]), None), h, hidden)
    return cross_entropy(h, output, y)


def cross_entropy(h: Any, output: Tree, y: Any) -> Any:
    """The mean over a batch, from the last hidden layer."""
    logits = h @ output[0] + output[1]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


def norms(gradients: Tree) -> Any:
    """The norm of every weight's gradient, [layer]."""
    return jnp.concatenate(
        [jnp.sqrt(jnp.sum(weight * weight, (-2, -1))).reshape(-1) for weight, _ in gradients], axis=0
    )


def sgd(lr: float) -> Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]:
    """Parameters, state and gradients -> parameters, state."""
    return lambda parameters, state, gradients: (tree_map(lambda p, g: p - lr * g, parameters, gradients), state)


def adam(lr: float) -> Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]:
    """The same; the state is both averages and the count of steps."""

    def update(parameters: Tree, state: Tree, gradients: Tree) -> tuple[Tree, Tree]:
        average, square, count = state
        count = count + 1
        average = tree_map(lambda m, g: BETA1 * m + (1 - BETA1) * g, average, gradients)
        square = tree_map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, square, gradients)
        size, scale = lr / (1 - BETA1**count), 1 / jnp.sqrt(1 - BETA2**count)
        moved = tree_map(lambda p, m, v: p - size * m / (jnp.sqrt(v) * scale + EPS), parameters, average, square)
        return moved, (average, square, count)

    return update


def make(form: dict[str, Any], update: Callable[..., tuple[Tree, Tree]], x: Any, y: Any) -> Callable[..., Any]:
    """A function of parameters, state and indices [step, trial, batch] that trains a stack."""
    loss = unrolled_loss if form["layers"] == "unrolled" else scanned_loss

    def one(carry: Tree, indices: Any) -> tuple[Tree, Tree]:
        parameters, state = carry
        value, gradients = jax.value_and_grad(loss)(parameters, x[indices], y[indices])
        return update(parameters, state, gradients), (value, norms(gradients))

    def together(parameters: Tree, state: Tree, indices: Any) -> Any:
        return lax.scan(jax.vmap(one), (parameters, state), indices)

    def in_turn(parameters: Tree, state: Tree, indices: Any) -> Any:
        return lax.map(lambda own: lax.scan(one, own[:2], own[2]), (parameters, state, indices.swapaxes(0, 1)))

    return jax.jit(together if form["trials"] == "vmap" else in_turn, donate_argnums=(0, 1))


class Prepared:
    """A compiled form with its stack, which goes on training whenever it is timed."""

    def __init__(self, form: dict[str, Any], job: dict[str, Any], arrays: Any) -> None:
        self.form, size = form, form["stack"]
        layers = len([name for name in arrays if name.startswith("weight_")])
        parameters = [
            tuple(jnp.asarray(arrays[f"{kind}_{layer}"][:size]) for kind in ("weight", "bias"))
            for layer in range(layers)
        ]
        if form["layers"] == "scanned":
            hidden = tuple(jnp.stack(tensors, 1) for tensors in zip(*parameters[1:-1], strict=True))
            parameters = [parameters[0], hidden, parameters[-1]]
        zeros = tree_map(jnp.zeros_like, parameters)
        state = (zeros, tree_map(jnp.copy, zeros), jnp.zeros(size)) if job["optimizer"] == "adam" else ()
        self.indices = jnp.asarray(arrays["indices"][:, :size])
        self.carry = (parameters, state)
        update = (adam if job["optimizer"] == "adam" else sgd)(job["lr"])
        run = make(form, update, jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"]))
        start = time.perf_counter()
        self.run = run.lower(*self.carry, self.indices).compile()
        self.compile_seconds = time.perf_counter() - start
        losses = self.train()[0]
        self.losses = np.asarray(losses)[:, 0] if form["trials"] == "vmap" else np.asarray(losses)[0]

    def train(self) -> Tree:
        """All steps; losses and norms."""
        self.carry, seen = self.run(*self.carry, self.indices)
        jax.block_until_ready((self.carry, seen))
        return seen

    def seconds(self) -> float:
        """Processor time per trial and step."""
        start = time.process_time()
        self.train()
        return (time.process_time() - start) / (self.indices.shape[0] * self.form["stack"])


def prepare(job: dict[str, Any]) -> Prepared:
    """The quickest form, each timed twice."""
    with np.load(job["arrays"]) as file:
        arrays = dict(file)
    best, least = None, float("inf")
    for form in job["forms"]:
        candidate = Prepared(form, job, arrays)
        seconds = min(candidate.seconds(), candidate.seconds())
        if best is None or seconds < least:
            best, least = candidate, seconds
    assert best is not None  # noqa: S101
    return best


def main() -> None:
    """Answer line by line, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    prepared = None
    for line in sys.stdin:
        job = json.loads(line)
        if job or prepared is None:
            prepared = prepare(job)
            answer = {
                "form": prepared.form,
                "compile_seconds": prepared.compile_seconds,
                "losses": prepared.losses.tolist(),
                "jax": jax.__version__,
            }
        else:
            answer = {"seconds": prepared.seconds()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
