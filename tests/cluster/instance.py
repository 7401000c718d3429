"""An instance of Ray for tests: two workers, a small object store; it ends with the process that holds it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.commands import environment

_HOLD = """
import logging, sys
import ray
ray.init(
    address="local", num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False,
    logging_level=logging.FATAL,
)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def ray_instance(folder: Path) -> Iterator[str]:
    """Its address, within; it lets in who has the token that stands in this process's environment."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    with (folder / "ray.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _HOLD],
            env=environment(RAY_USAGE_STATS_ENABLED="0", RAY_raylet_start_wait_time_s="300"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, (folder / "ray.log").read_text()
            yield address
        finally:
            process.communicate(timeout=300)
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                del os.environ[name]
