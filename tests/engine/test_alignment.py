"""Kernels whose bits don't depend on the stack."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

SHAPES = [(6, 33, 5), (25, 33, 5), (25, 5, 33), (100, 33, 3), (7, 1, 1), (32, 16, 16)]


@pytest.mark.parametrize(("rows", "fan_in", "fan_out"), SHAPES)
def test_a_product_has_the_same_bits_wherever_its_factors_stand_in_memory(rows: int, fan_in: int, fan_out: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(size, generator=generator) for size in ((rows, fan_in), (fan_in, fan_out)))
    many, others = (tensor.expand(24, *tensor.shape).contiguous() for tensor in (x, w))
    products = [
        torch.bmm(many, others),
        torch.bmm(many, others.transpose(1, 2).contiguous().transpose(1, 2)),
        torch.bmm(many.transpose(1, 2), torch.bmm(many, others)),
    ]
    for product in products:
        assert all(torch.equal(one, product[0]) for one in product)


def test_a_run_settles_the_kernels_before_its_first_product() -> None:
    """In a process of its own, as MKL asks once; the training of other tests comes too late."""
    code = """
        import os
        import torch
        from pathlib import Path
        from gradlab.config.schema import Experiment
        from gradlab.config.sweep import expand
        from gradlab.engine.work import Workshop
        Workshop.prepare(expand(Experiment.model_validate({"seeds": 1})), Path(), torch.device("cpu"))
        print(os.environ["MKL_CBWR"], torch.get_num_threads())
        torch.manual_seed(0)
        x, w = torch.randn(25, 33).expand(8, 25, 33).contiguous(), torch.randn(33, 5).expand(8, 33, 5).contiguous()
        product = torch.bmm(x, w)
        assert all(torch.equal(one, product[0]) for one in product)
        """
    for given, expected in ((None, "AUTO,STRICT"), ("COMPATIBLE", "COMPATIBLE")):
        environment = {key: value for key, value in os.environ.items() if key != "MKL_CBWR"}
        environment |= {} if given is None else {"MKL_CBWR": given}
        lines = "\n".join(line.strip() for line in code.splitlines())
        done = subprocess.run([sys.executable, "-c", lines], env=environment, capture_output=True, text=True)  # noqa: S603
        assert done.stdout.split() == [expected, "1"], done.stderr
        assert done.returncode == 0, done.stderr
