"""Whether a trial's model can train in a stack, told from the model alone: so its numbers never depend on others."""

from __future__ import annotations

import hashlib
import math
import pickle
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.engine.modules.footprint import Footprint
from gradlab.engine.modules.layers import as_outputs, copied
from gradlab.engine.modules.stack import ModuleStack
from gradlab.engine.modules.state import UnclearStateError, state_digest
from gradlab.engine.tasks import example_losses
from gradlab.engine.user_code import RAISED, describe

LARGEST = 1 << 13
"""Elements of a trial's largest tensor up to which stacking saves time: beyond, arithmetic outweighs the calls."""

MOST_PARAMETERS = 1 << 19
"""Parameters up to which stacking saves time."""

TAIL = 64
"""Elements at the end of a buffer that kernels may treat differently from those before, at most."""

MOST_SPARES = 16
"""Spare trials behind the others, at most; a model that needs more trains alone."""

_STACKED = (7, 11, 13, 17)
"""Trials in the pass that is looked at: a number that no other dimension is a multiple of, so that theirs is known."""

_CLOSE, _FLOOR = {torch.float64: 1e-6, torch.float32: 1e-3}, {torch.float64: 1e-13, torch.float32: 1e-6}
"""How far a stack's numbers may be from plain autograd's: relative to themselves, and to the largest gradient."""


class NotStackableError(Exception):
    """The model trains alone, in a plain loop; the message says why."""


@dataclass(frozen=True)
class Stacking:
    """How a trial's model trains in a stack.

    Attributes:
        structure: models may share a stack where this is equal.
        trained: names of the parameters that are trained and that the loss reaches.
        spares: copies behind the last trial, whose results are dropped: the ends of all buffers lie among them.
        elements: of the trial in the largest tensor of a step.
        memory: bytes that the trial takes in a step.
        bits: digest of what its first step comes to in a stack of its own.
    """

    structure: str
    trained: tuple[str, ...]
    spares: int
    elements: int
    memory: int
    bits: str


def examine(model: nn.Module, kind: str, x: Tensor, y: Tensor) -> Stacking:
    """How `model` trains in a stack; it is left as it is, in train mode, and so are all random streams.

    Args:
        model: as its factory made it.
        kind: of the task.
        x, y: the trial's first minibatch.

    Raises:
        NotStackableError: it can't, or wouldn't save time.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _examine(model, kind, x, y)
    except NotStackableError:
        raise
    except UnclearStateError as error:
        raise NotStackableError(str(error)) from error
    except RAISED as error:
        raise NotStackableError(describe(error)) from error
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def bits_digest(bits: bytes) -> str:
    """Equal where all bits are."""
    return hashlib.sha256(bits).hexdigest()


def _examine(model: nn.Module, kind: str, x: Tensor, y: Tensor) -> Stacking:
    _refuse_what_is_not_plain(model, x)
    structure, plain = _plain_pass(model, kind, x, y)
    trained = tuple(name for name, gradient in plain.gradients.items() if gradient is not None)
    if not trained:
        raise NotStackableError("the loss reaches no parameter")
    seen = _look(model, trained, kind, x, y)
    spares = math.ceil(TAIL / min(seen.smallest, TAIL))
    if spares > MOST_SPARES:
        raise NotStackableError(f"it computes with as few as {seen.smallest} numbers at a time")
    _compare(model, trained, kind, x, y, plain)
    bits = _own_bits(model, trained, kind, x, y, 1 + spares)[0]
    if any(other != bits for other in seen.bits[: max(0, seen.trials - spares)]):
        raise NotStackableError("its numbers depend on its place in a stack")
    parameters = sum(one.numel() for one in model.parameters())
    # The buffer and its gradient, two moments, the gradient before it is copied, the trial's own module and its copy.
    memory = 4 * (7 * parameters + seen.total)
    return Stacking(structure, trained, spares, seen.largest, memory, bits)


def _refuse_what_is_not_plain(model: nn.Module, x: Tensor) -> None:
    if x.device.type != "cpu":
        raise NotStackableError("kernels of a GPU depend on the size of a stack")
    trainable = [one for one in model.parameters() if one.requires_grad]
    if any(one.dtype != torch.float32 for one in trainable):
        raise NotStackableError("its parameters are not float32")
    if sum(one.numel() for one in model.parameters()) > MOST_PARAMETERS:
        raise NotStackableError("its arithmetic outweighs what a stack saves")
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod") or module._compiled_call_impl:
            raise NotStackableError("it is compiled")
        if any(getattr(module, hooks) for hooks in _HOOKS):
            raise NotStackableError("it has hooks")
    if any(one._backward_hooks or one._post_accumulate_grad_hooks for one in model.parameters()):
        raise NotStackableError("its parameters have hooks")


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class _Pass:
    """What one forward and backward pass comes to: gradients are None where the loss doesn't reach."""

    output: Tensor
    gradients: Mapping[str, Tensor | None]
    buffers: Mapping[str, Tensor]


def _run(model: nn.Module, kind: str, x: Tensor, y: Tensor) -> _Pass:
    """A pass in plain PyTorch, which moves the model's buffers."""
    output = as_outputs(model(x))
    loss = example_losses(kind, output[None], y[None]).mean()
    trainable = {name: one for name, one in model.named_parameters() if one.requires_grad}
    gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
    return _Pass(output.detach(), dict(zip(trainable, gradients, strict=True)), dict(model.named_buffers()))


def _plain_pass(model: nn.Module, kind: str, x: Tensor, y: Tensor) -> tuple[str, _Pass]:
    """The digest of a model and its pass, which changes nothing but its buffers."""
    one = copied(model).train()
    structure, given = state_digest(one), x.clone()
    streams = _random_streams()
    found = _run(one, kind, given, y)
    if _random_streams() != streams:
        raise NotStackableError("it draws random numbers")
    if state_digest(one) != structure:
        raise NotStackableError("it keeps something from a forward pass")
    own = dict(model.named_parameters())
    if not torch.equal(given, x) or any(not _same_bits(own[name], two) for name, two in one.named_parameters()):
        raise NotStackableError("it changes its parameters or its input in the forward pass")
    if not _same_bits(_output(model, x), found.output):
        raise NotStackableError("a copy of it computes something else")
    return structure, found


@torch.no_grad()
def _output(model: nn.Module, x: Tensor) -> Tensor:
    """What the model itself returns in train mode; its buffers are left as they are."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    output = as_outputs(model.train()(x.clone()))
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return output


def _random_streams() -> tuple[object, ...]:
    """Where the streams of torch, Python and numpy stand."""
    return torch.random.get_rng_state().numpy().tobytes(), random.getstate(), pickle.dumps(np.random.get_state())


@dataclass(frozen=True)
class _Look:
    """A pass of a stack of equal trials: its footprint, and each trial's bits."""

    trials: int
    smallest: int
    largest: int
    total: int
    bits: Sequence[str]


def _look(model: nn.Module, trained: Sequence[str], kind: str, x: Tensor, y: Tensor) -> _Look:
    sizes = {size for tensor in (x, y, *model.parameters(), *model.buffers()) for size in tensor.shape}
    trials = next((count for count in _STACKED if all(size % count for size in sizes)), _STACKED[0])
    footprint = Footprint(trials)
    bits = _own_bits(model, trained, kind, x, y, trials, footprint)
    if footprint.mixing is not None:
        raise NotStackableError(f"it multiplies by a matrix of its own ({footprint.mixing})")
    if footprint.largest > LARGEST:
        raise NotStackableError("its arithmetic outweighs what a stack saves")
    return _Look(trials, footprint.smallest, footprint.largest, footprint.total, bits)


def _own_bits(
    model: nn.Module,
    trained: Sequence[str],
    kind: str,
    x: Tensor,
    y: Tensor,
    trials: int,
    footprint: Footprint | None = None,
) -> list[str]:
    """Digests of a first step's bits in a stack of so many equal trials, seen by `footprint`."""
    stack = ModuleStack([model] * trials, trained)
    batch = [tensor.expand(trials, *tensor.shape).contiguous() for tensor in (x, y)]
    if footprint is None:
        output, _ = stack.differentiate(kind, *batch)
    else:
        with footprint:
            output, _ = stack.differentiate(kind, *batch)
    return [bits_digest(stack.bits(trial, output)) for trial in range(trials)]


def _compare(model: nn.Module, trained: Sequence[str], kind: str, x: Tensor, y: Tensor, plain: _Pass) -> None:
    """Compare a stack with plain autograd, in float64 where the model can: there rounding hides nothing."""
    try:
        exact = copied(model).double().train()
        plain, model, x = _run(copied(exact), kind, x.double(), y), exact, x.double()
    except RAISED:
        pass
    stack = ModuleStack([model, model], trained)
    output, _ = stack.differentiate(kind, torch.stack([x, x]), torch.stack([y, y]))
    views = stack.views(stack.gradient)
    expected = {name: gradient for name in trained if (gradient := plain.gradients[name]) is not None}
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    pairs = [(output[0], plain.output, 0.0), *((views[name][0], one, largest) for name, one in expected.items())]
    pairs += [(stack.buffers[name][0], buffer, 0.0) for name, buffer in plain.buffers.items()]
    if any(unreached is not None for name, unreached in plain.gradients.items() if name not in trained):
        raise NotStackableError("which parameters the loss reaches depends on the precision")
    if not all(_close(found, wanted, scale) for found, wanted, scale in pairs):
        raise NotStackableError("its numbers in a stack are not those of plain PyTorch")


def _close(found: Tensor, expected: Tensor, scale: float) -> bool:
    """Whether two tensors are equal but for rounding, which is judged by the norm of the whole."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if not expected.is_floating_point():
        return torch.equal(found, expected)
    finite = torch.isfinite(expected)
    if not torch.equal(finite, torch.isfinite(found)):
        return False
    error = torch.linalg.vector_norm((found - expected)[finite].double())
    norm = torch.linalg.vector_norm(expected[finite].double())
    floor = _FLOOR[expected.dtype] * max(scale, 1e-300) * expected.numel() ** 0.5
    return bool(error <= _CLOSE[expected.dtype] * norm + floor)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    pair = (tensor.detach().contiguous().view(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(*pair)
