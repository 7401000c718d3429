"""The guarded project of the gate's benchmark is what it is said to be, and its variants are what they are called."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.gate import noise
from benchmarks.gate.checks import Finding, check, clean, measured
from benchmarks.gate.drift import UPGRADE, drift
from benchmarks.gate.variants import NETWORKS, PROJECT, Edit, Variant, bugs, refactors
from gradlab.store.measurement import Key, NetworkStatistics, is_logarithmic

SEEDS = 3


def pick(variants: list[Variant], kind: str, network: str) -> Variant:
    """The first variant of a kind."""
    return next(one for one in variants if (one.kind, one.network) == (kind, network))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_project_has_the_networks_that_gradlab_builds(network: str) -> None:
    plain = measured(PROJECT / f"{network}.yaml", 0, SEEDS).networks
    built_in = measured(PROJECT / f"built_in_{network}.yaml", 0, SEEDS).networks
    for ours, theirs in zip(plain, built_in, strict=True):
        assert ours.weight_counts == theirs.weight_counts
        assert ours.values.keys() == theirs.values.keys()
        for key in compared(ours, network):
            tolerance = 1e-4 if is_logarithmic(key.statistic) else 1e-3
            np.testing.assert_allclose(ours.values[key], theirs.values[key], rtol=0, atol=tolerance, err_msg=str(key))


def compared(statistics: NetworkStatistics, network: str) -> list[Key]:
    """All statistics but one that has another meaning: an activation module's output is h_l without what is skipped."""
    skips = network == "residual"
    return [key for key in statistics.values if not (skips and key.statistic == "activation_rms" and key.layer > 1)]


def test_there_are_forty_bugs_of_twenty_kinds_and_every_refactor_for_every_network() -> None:
    planted, harmless = bugs(), refactors()
    assert len(planted) >= 40
    assert len({bug.kind for bug in planted}) >= 20
    assert {bug.network for bug in planted} == set(NETWORKS)
    kinds = {refactor.kind for refactor in harmless}
    assert {(one.kind, one.network) for one in harmless} == {(kind, network) for kind in kinds for network in NETWORKS}


@pytest.mark.parametrize("variant", [*bugs(), *refactors(), *drift(UPGRADE)], ids=lambda v: f"{v.kind}, {v.network}")
def test_every_variant_is_a_program_that_differs_from_the_project(variant: Variant, tmp_path: Path) -> None:
    config = variant.write(tmp_path)
    assert config.read_text() == (PROJECT / config.name).read_text()
    code = ("models.py", "data.py")
    changed = [name for name in code if (tmp_path / name).read_text() != (PROJECT / name).read_text()]
    assert changed
    for name in changed:
        ast.parse((tmp_path / name).read_text())


def test_an_edit_for_other_code_is_refused() -> None:
    assert Edit("f", "b", "x\ny").apply("a\nb\nc\n") == "a\nx\ny\nc\n"
    for text in ("a\nc\n", "a\nb\nc\nb\n", "ab\nc\n"):
        with pytest.raises(ValueError, match="not once"):
            Edit("f", "b", "x").apply(text)


def test_a_bug_is_found_and_a_refactor_is_not() -> None:
    baselines = {("residual", start): clean("residual", start) for start in (0, 100)}

    def finding(variants: list[Variant], kind: str) -> Finding:
        return check(pick(variants, kind, "residual"), baselines)

    found = finding(bugs(), "doubled residual")
    assert (found.verdict, found.exit_code, found.paired, found.fresh) == ("regression", 1, True, "regression")
    assert found.regressed
    assert found.sentence
    renamed = finding(refactors(), "renamed modules")
    assert (renamed.verdict, renamed.exit_code, renamed.paired) == ("pass", 0, True)
    assert renamed.largest_ratio < 1 + 1e-4  # what six digits of a baseline lose


@pytest.mark.parametrize(
    ("noisy", "plain", "shape"),
    [
        (noise.NoisyLinear(5, 4), nn.Linear(5, 4), (6, 5)),
        (noise.NoisyConv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1), (6, 2, 4, 4)),
    ],
)
def test_noise_is_relative_to_every_product(
    noisy: nn.Module, plain: nn.Module, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # All numbers are positive, so that nothing cancels in a product and makes more of the noise.
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.uniform_(1, 2, generator=torch.Generator().manual_seed(0))
        nn.init.zeros_(plain.bias)
    noisy.load_state_dict(plain.state_dict())
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 1

    def products(layer: nn.Module) -> list[torch.Tensor]:
        given = x.clone().requires_grad_()
        output = layer(given)
        gradients = torch.autograd.grad(output.sum(), [given, layer.weight])
        return [output.detach(), *gradients]

    for found, expected in zip(products(noisy), products(plain), strict=True):
        torch.testing.assert_close(found, expected)
    monkeypatch.setattr(noise, "SIZE", 0.01)
    state = torch.random.get_rng_state()
    for found, expected in zip(products(noisy), products(plain), strict=True):
        relative = (found / expected - 1).std().item()
        assert relative == pytest.approx(0.01, rel=0.5)
    assert torch.equal(torch.random.get_rng_state(), state)
