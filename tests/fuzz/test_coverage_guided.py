"""An hour of fuzzing, led by the code that is covered (atheris): no traceback, no hang, no huge allocation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gradlab.config.fields import SWEEP_PATHS
from gradlab.config.schema import Experiment
from tests.fuzz.targets import CORPUS, TARGETS

SECONDS = float(os.environ.get("GRADLAB_FUZZ_SECONDS", "3600"))
"""For all targets together."""

SHARES = {"config": 0.55, "npz": 0.05, "npy": 0.15, "baseline": 0.15, "run_info": 0.1}
"""Of that time, by how much there is to find."""

SLOWEST = 20
"""Seconds that one file may take: instrumented code is many times slower, and so is a busy machine."""

MEMORY = 2048
"""MiB that the fuzzer and what it runs may take, libraries included."""

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris: pip install 'gradlab-runner[fuzz]'")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_an_error_of_gradlab(target: str, tmp_path: Path) -> None:
    found, start = tmp_path / "found", tmp_path / "corpus"
    found.mkdir()
    shutil.copytree(CORPUS / target, start)
    (tmp_path / "words").write_text(words())
    options = [
        f"-max_total_time={max(1, round(SECONDS * SHARES[target]))}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MEMORY}",
        "-max_len=8192",
        f"-dict={tmp_path / 'words'}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", "tests.fuzz.run", target, *options, str(start)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * SECONDS + 600)  # noqa: S603
    kept = [(path.name, path.read_bytes()[:2000]) for path in found.iterdir()]
    assert done.returncode == 0, f"{kept}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert not kept
    assert "stat::number_of_executed_units" in done.stderr


def words() -> str:
    """What configs, arrays and baselines are made of, as a dictionary of libFuzzer's."""
    names = {*Experiment.model_fields, *SWEEP_PATHS, *(path.split(".")[1] for path in SWEEP_PATHS)}
    marks = ["grid", "zip", "include", "exclude", "sweep.grid.", "#--set ", "&a ", "*a", "!!int ", ".inf", "1e-3", "<<"]
    arrays = [r"\x93NUMPY", r"PK\x03\x04", "'descr': '<f8'", "'|O'", "'shape': (", "9999999999999, ", "y_eval.npy"]
    numbers = ["1e999", "-0.0", "NaN", "null", "[[", "{}", *(r"\"" + key + r"\": " for key in ("seeds", "networks"))]
    return "".join(f'"{word}"\n' for word in sorted(names) + marks + arrays + numbers)
