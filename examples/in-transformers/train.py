"""Two encoders of transformers with random weights, post-norm and pre-norm, recorded by gradlab."""

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaPreLayerNormConfig,
    RobertaPreLayerNormForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

from gradlab.huggingface import GradlabCallback

WORDS, LENGTH, WIDTH, BLOCKS = 16, 8, 32, 8

MODELS = {
    "post": (RobertaConfig, RobertaForSequenceClassification),
    "pre": (RobertaPreLayerNormConfig, RobertaPreLayerNormForSequenceClassification),
}


class FirstWord(Dataset[dict[str, Tensor]]):
    """Sequences of random words, to be told apart by whether the first one is odd."""

    def __init__(self, count: int, seed: int) -> None:
        self.words = torch.randint(3, WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.words[index], "labels": self.words[index, 0] % 2}


def main() -> None:
    """Train each encoder three times."""
    for norm, (config, model) in MODELS.items():
        for seed in (0, 1, 2):
            set_seed(seed)
            sizes = config(
                vocab_size=WORDS,
                max_position_embeddings=LENGTH + 2,
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=BLOCKS,
                num_attention_heads=2,
                initializer_range=WIDTH**-0.5,
            )
            arguments = TrainingArguments(
                output_dir="runs/checkpoints",
                seed=seed,
                max_steps=40,
                per_device_train_batch_size=16,
                gradient_accumulation_steps=2,
                learning_rate=2e-3,
                eval_strategy="steps",
                eval_steps=20,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            )
            trainer = Trainer(
                model(sizes),
                arguments,
                train_dataset=FirstWord(1280, seed=0),
                eval_dataset=FirstWord(64, seed=1),
                callbacks=[GradlabCallback(every=10, out="runs/mine", settings={"norm": norm}, fresh=True)],
            )
            trainer.train()
    print("gradlab compare runs/mine")


if __name__ == "__main__":
    main()
