"""A program for two processes: trains without and with the callback of a framework, and compares the models.

`python -m torch.distributed.run --nproc-per-node 2 in_two_processes.py FRAMEWORK OUT`
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.frameworks.recorded import same_bits


def with_lightning(out: Path | None) -> nn.Module:
    from gradlab.lightning import GradlabCallback
    from tests.frameworks.lightning_trainings import Module, fit

    module = Module()
    module.net[3] = nn.Identity()  # without dropout a gradient can be computed again
    recording = [] if out is None else [GradlabCallback(2, out, module="net")]
    fit(module, *recording, strategy="ddp", devices=2)
    return module.net


def with_transformers(out: Path | None) -> nn.Module:
    from gradlab.huggingface import GradlabCallback
    from tests.frameworks.huggingface_trainings import Plain, train

    model = Plain()
    _, batches = train(model, Path("unused"), *([] if out is None else [GradlabCallback(2, out)]))
    torch.save(batches, f"batches-of-{distributed.get_rank()}.pt")
    return model


if __name__ == "__main__":
    train_with = {"lightning": with_lightning, "transformers": with_transformers}[sys.argv[1]]
    assert same_bits(train_with(None), train_with(Path(sys.argv[2])))
    # Processes of gloo that end without this now and then abort.
    distributed.barrier()
    distributed.destroy_process_group()
