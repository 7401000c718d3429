"""Trainings with the Trainer of transformers, and the same by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)

from gradlab import watch

STEPS, BATCH, WORDS, LENGTH = 12, 8, 13, 6


class Sequences(Dataset[dict[str, Tensor]]):
    """Random words, some of whose labels don't count, so that batches have different numbers of items."""

    def __init__(self, seed: int = 0) -> None:
        source = torch.Generator().manual_seed(seed)
        count = STEPS * BATCH * 2
        self.words = torch.randint(WORDS, (count, LENGTH), generator=source)
        self.labels = torch.where(torch.rand(count, LENGTH, generator=source) < 0.3, -100, self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.words[index], "labels": self.labels[index]}


def gpt2() -> GPT2LMHeadModel:
    """Pre-norm, dropout, tied embeddings, and its own class of linear layers; divides the loss by the items itself."""
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"vocab_size": WORDS, "n_positions": LENGTH, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None))
    model.loss_type = "ForCausalLM"  # else the Trainer counts the first word, too, that nothing predicts
    return model


def llama() -> LlamaForCausalLM:
    """Norms of its own and no biases."""
    torch.manual_seed(3)
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=WORDS, hidden_size=16, intermediate_size=24, **heads))


class Plain(nn.Module):
    """A model of one's own, whose loss is a mean over the batch at hand."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        super().__init__()
        self.net = nn.Sequential(nn.Embedding(WORDS, 8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, WORDS))

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        scores = self.net(input_ids)
        if labels is None:
            return {"logits": scores}
        return {"loss": cross_entropy(scores.flatten(0, 1), labels.flatten()), "logits": scores}


MODELS = {"gpt2": gpt2, "llama": llama, "plain": Plain}


def train(
    model: nn.Module,
    out: Path,
    *callbacks: Any,
    resume: Any = None,
    kind: type[Trainer] = Trainer,
    trainer_options: Any = None,
    **options: Any,
) -> tuple[Trainer, list[dict[str, Tensor]]]:
    """A training with the Trainer, and the batches in their order."""
    batches: list[dict[str, Tensor]] = []

    def collate(examples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        batch = {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
        batches.append({name: tensor.clone() for name, tensor in batch.items()})
        return batch

    defaults: dict[str, Any] = {
        "output_dir": str(out.with_name("checkpoints")),
        "max_steps": STEPS,
        "per_device_train_batch_size": BATCH,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 5,
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    trainer = kind(
        model,
        TrainingArguments(**(defaults | options)),
        data_collator=collate,
        train_dataset=Sequences(),
        eval_dataset=Sequences(1),
        optimizers=(optimizer, constant),
        callbacks=list(callbacks),
        **(trainer_options or {}),
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer, batches


def grouped(batches: list[dict[str, Tensor]], count: int) -> Iterator[list[dict[str, Tensor]]]:
    yield from (batches[start : start + count] for start in range(0, STEPS * count, count))


def loss_of_step(model: nn.Module, group: list[dict[str, Tensor]]) -> Iterator[Tensor]:
    """What the backward passes of a step start from: their sum is the step's loss."""
    for batch in group:
        if isinstance(model, Plain):
            yield model(**batch)["loss"] / len(group)
        else:
            items = sum(int((each["labels"][:, 1:] != -100).sum()) for each in group)
            yield model(**batch, num_items_in_batch=torch.tensor(items)).loss


def watched_by_hand(model: nn.Module, batches: list[dict[str, Tensor]], out: Path, kind: dict[str, Any]) -> None:
    """The trainings below as a loop in plain torch, with `gradlab.watch`."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    with watch(model, optimizer, 2, out, seed=5) as recorder:
        for group in grouped(batches, kind.get("gradient_accumulation_steps", 1)):
            optimizer.zero_grad()
            total = torch.zeros(())
            with torch.autocast("cpu", torch.bfloat16) if kind.get("bf16") else contextlib.nullcontext():
                for loss in loss_of_step(model, group):
                    with torch.autocast("cpu", enabled=False):
                        loss.backward()
                    total = total + loss.detach()
            recorder.log(train_loss=total)
            if clip := kind.get("max_grad_norm", 1.0):
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()


TRAININGS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "hardly any gradient left": {"max_grad_norm": 0.01},
    "unclipped": {"max_grad_norm": 0.0},
    "accumulated": {"gradient_accumulation_steps": 2},
    "bfloat16": {"bf16": True},
}
