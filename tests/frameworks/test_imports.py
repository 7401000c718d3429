"""Frameworks are imported by who asks for their callbacks, and by nobody else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FRAMEWORKS = ("lightning", "pytorch_lightning", "transformers", "accelerate")


def python(code: str, absent: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Code in a process of its own, as if packages were not installed."""
    hide = "".join(f"sys.modules[{name!r}] = None\n" for name in absent)
    script = f"import json, sys\n{hide}{code}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)  # noqa: S603


def imported(code: str, absent: tuple[str, ...] = ()) -> set[str]:
    """The packages that are there after some code."""
    done = python(f"{code}\nprint(json.dumps([name for name in sys.modules if sys.modules[name] is not None]))", absent)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_gradlab_alone_imports_nothing_heavy() -> None:
    assert not imported("import gradlab") & {"torch", "numpy", "pandas", "pyarrow", *FRAMEWORKS}


def test_the_recorder_works_without_them() -> None:
    assert "torch" in imported("from gradlab import watch", FRAMEWORKS)
    assert not imported("from gradlab import watch") & set(FRAMEWORKS)


def test_each_callback_imports_its_own() -> None:
    either = {"lightning", "pytorch_lightning"}
    assert imported("from gradlab.lightning import GradlabCallback") & either == {"lightning"}
    assert imported("from gradlab.huggingface import GradlabCallback") & either == set()


def test_the_older_package_of_lightning_will_do() -> None:
    code = """
from gradlab.lightning import GradlabCallback
from pytorch_lightning.callbacks import Callback
assert issubclass(GradlabCallback, Callback)
"""
    assert "pytorch_lightning" in imported(code, ("lightning",))


@pytest.mark.parametrize(
    ("module", "absent", "extra"),
    [
        ("gradlab.lightning", ("lightning", "pytorch_lightning"), "'.[lightning]'"),
        ("gradlab.huggingface", ("transformers",), "'.[huggingface]'"),
        ("gradlab.huggingface", ("accelerate",), "'.[huggingface]'"),
    ],
)
def test_a_framework_that_is_not_installed_is_asked_for_in_one_message(
    module: str, absent: tuple[str, ...], extra: str
) -> None:
    done = python(f"import {module}", absent)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {module} needs ")
    assert last.endswith(f"pip install --constraint constraints.txt --editable {extra}")
