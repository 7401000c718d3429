"""Which modules of a model are looked at."""

from __future__ import annotations

import torch
from torch import nn

from gradlab.engine.modules.layers import layers_of, parts_of_layers


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    """The normalisations of a model by name: modules without parts whose `weight` is a vector."""
    found = {}
    inside = parts_of_layers(model)
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim == 1 and module not in inside and not isinstance(module, nn.PReLU):
            found[name] = module
    return found


def unwatched(model: nn.Module) -> list[str]:
    """What of a model can't be recorded, and why."""
    notes = [
        f"{name}: compiled by itself, so only its weights and their gradients are recorded; "
        "watch what torch.compile(model) returns for the whole model"
        for name, module in model.named_modules()
        if name and is_compiled(module)
    ]
    known = {id(p) for module in (*layers_of(model).values(), *norms_of(model).values()) for p in module.parameters()}
    others = [name for name, p in model.named_parameters() if p.ndim >= 2 and p.requires_grad and id(p) not in known]
    if others:
        notes.append(f"{some(others)}: no weight of a module, so without a row; counted in grad_norm")
    return notes


def without_update(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """A note on parameters that get gradients, though the optimizer doesn't hold them."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    names = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if not names:
        return []
    why = "not the optimizer's, which neither updates them nor clears their gradients: these may add up over steps"
    return [f"{some(names)}: {why}"]


def some(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def inside_compiled(model: nn.Module) -> set[nn.Module]:
    """The modules whose calls compiled code replaces, so that their hooks don't run."""
    return {part for module in model.modules() if is_compiled(module) for part in module.modules()}


def is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile has wrapped a module, or compiled it in place."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
