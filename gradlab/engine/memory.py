"""How much memory there is: of the machine, of the control groups that hold this process, of its own limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch

from gradlab.errors import MachineError

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")

_GIB = 2**30


def available(device: torch.device | None = None, proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Bytes that this process can still have; None where the system doesn't say.

    The least of what the machine has left, what each control group around this process (version 1 or 2) leaves it,
    and what its limit of address space leaves it. Cached files that were not read lately count as free: the kernel
    gives them up before it kills anyone.

    Args:
        device: what is to be trained on; a GPU has memory of its own.
    """
    left = [_of_machine(proc), _of_address_space(proc), *_of_groups(proc, cgroup)]
    if device is not None and device.type == "cuda":
        left.append(torch.cuda.mem_get_info(device)[0])
    known = [max(0, size) for size in left if size is not None]
    return min(known, default=None)


def require(needed: float, what: str, remedy: str, there: int | None) -> None:
    """Refuse what doesn't fit into memory, before anything is allocated for it.

    Args:
        needed, there: bytes; None where it isn't known what there is.
        what: who needs them, the subject of the message.

    Raises:
        MachineError: with both numbers and the remedy.
    """
    if there is not None and needed > there:
        told = f"{what} needs about {in_gib(needed)} of memory, and {in_gib(there)} is available"
        raise MachineError(f"{told}; {remedy}")


def in_gib(size: float) -> str:
    """Bytes as people read them."""
    if size >= 1e6 * _GIB:
        return f"{size / _GIB:.1e} GiB"
    return f"{size / _GIB:,.0f} GiB" if size >= 100 * _GIB else f"{size / _GIB:.2g} GiB"


def _of_machine(proc: Path) -> int | None:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _of_address_space(proc: Path) -> int | None:
    """What `ulimit -v` leaves."""
    limit = re.search(r"^Max address space\s+(\d+)", _text(proc / "self" / "limits"), re.MULTILINE)
    size = re.search(r"^VmSize:\s*(\d+) kB", _text(proc / "self" / "status"), re.MULTILINE)
    return int(limit[1]) - int(size[1]) * 1024 if limit and size else None


def _of_groups(proc: Path, cgroup: Path) -> Iterator[int]:
    """What each control group around this process leaves, its own and all above."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            root, limit, usage, cached = cgroup, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, usage = cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        # In a container the path may be the host's: its own group is then the root of what it sees.
        steps = [step for step in path.split("/") if step not in {"", ".."}]
        for depth in range(len(steps) + 1):
            group = root.joinpath(*steps[:depth])
            most, taken = _text(group / limit).strip(), _text(group / usage).strip()
            if most.isdigit() and taken.isdigit():
                kept = re.search(rf"^{cached} (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
                yield int(most) - max(0, int(taken) - (int(kept[1]) if kept else 0))


def _text(path: Path) -> str:
    """What a file of the system says; nothing where it is missing or can't be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
