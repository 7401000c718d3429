"""The pytest plugin: the check of `gradlab check` as a fixture, and an option that writes baselines."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

from gradlab.updating import REMEDY, UPDATE, update_asked


class GradlabCheck(Protocol):
    """What the fixture `gradlab_check` is."""

    def __call__(
        self,
        config: str | os.PathLike[str],
        baseline: str | os.PathLike[str],
        *,
        overrides: Sequence[str] = (),
        seeds_from: int | None = None,
    ) -> None:
        """Fail the test where the gradient statistics of a config regressed against a baseline.

        Args:
            config: the YAML config; like `baseline`, relative to pytest's root directory.
            baseline: the JSON file, written instead with `--gradlab-update`.
            overrides: as in `--set`, such as `model.depth=20`.
            seeds_from: the first of as many consecutive seeds as the baseline has; None for the baseline's own.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--gradlab-update`."""
    parser.getgroup("gradlab").addoption(
        "--gradlab-update", action="store_true", help="write baselines of gradient statistics instead of comparing"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Pass `--gradlab-update` on to fixture and function."""
    if not config.getoption("gradlab_update"):
        return
    from gradlab.errors import UsageError
    from gradlab.store.baseline import refuse_in_ci

    try:
        refuse_in_ci()
    except UsageError as error:
        raise pytest.UsageError(f"--gradlab-update: {error}") from None
    environment = pytest.MonkeyPatch()
    environment.setenv(UPDATE, "1")
    config.add_cleanup(environment.undo)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that a check can't fail now."""
    return "gradlab: baselines are written, not compared" if config.getoption("gradlab_update") else None


@pytest.fixture
def gradlab_check(pytestconfig: pytest.Config) -> GradlabCheck:
    """Compare the gradient statistics of a config's networks with a baseline, as `gradlab check` does."""

    def check(
        config: str | os.PathLike[str],
        baseline: str | os.PathLike[str],
        *,
        overrides: Sequence[str] = (),
        seeds_from: int | None = None,
    ) -> None:
        __tracebackhide__ = True
        from gradlab.errors import GradlabError

        try:
            _check(pytestconfig.rootpath / config, pytestconfig.rootpath / baseline, overrides, seeds_from)
        except GradlabError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None

    return check


def _check(config: Path, baseline: Path, overrides: Sequence[str], seeds_from: int | None) -> None:
    """Measure in this process, where the test's own patches are seen, and compare or write."""
    __tracebackhide__ = True
    import torch
    from rich.console import Console

    from gradlab import gate
    from gradlab.analysis.gate.change import INCONCLUSIVE, SAME
    from gradlab.config.load import load
    from gradlab.guard import InconclusiveWarning
    from gradlab.report.gate.console import report_text
    from gradlab.report.progress import ProgressDisplay
    from gradlab.runner import Options
    from gradlab.store.baseline import read_baseline, refuse_in_ci

    options, listener = Options(workers=1), ProgressDisplay(Console(stderr=True), quiet=True)
    loaded, threads = load(config, overrides), torch.get_num_threads()
    try:
        if update_asked():
            refuse_in_ci()
            measured = gate.make_baseline(loaded, baseline, seeds_from, options, listener)
            if measured.failures:
                told = [f"failed: {failure}" for failure in measured.failures]
                pytest.fail("\n".join([*told, f"{baseline} is not written: it needs all its trials"]), pytrace=False)
            return
        known = read_baseline(baseline, REMEDY)
        outcome = gate.check(loaded, known, str(baseline), seeds_from, options, listener, REMEDY)
    finally:
        torch.set_num_threads(threads)
    if outcome.verdict == INCONCLUSIVE:
        warnings.warn(report_text(outcome), InconclusiveWarning, stacklevel=3)
    elif outcome.verdict != SAME:
        pytest.fail(report_text(outcome), pytrace=False)
