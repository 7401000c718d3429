"""Every kind of feed-forward layer against a float64 twin, at each of three steps of a float32 training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.watching.recorded import by_key, follow
from tests.watching.twin import Part, of_module

CLASSES = 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20)


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def labelled(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, torch.arange(len(x)) % CLASSES


def singles(batch: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
    x, y = batch
    return [(x[i : i + 1], y[i : i + 1]) for i in range(len(x))]


def check(model: nn.Module, x: Tensor, parts: list[Part], out: Path, *, alone: bool = True, **more: Any) -> None:
    """`alone`: examples don't influence each other, so delta_rms can be had from each by itself."""
    batch = labelled(x)
    alone_batches = singles(batch) if alone else []
    recorder = follow(model, batch, cross_entropy, parts, out, examples=len(x), singles=alone_batches, **more)
    assert recorder.notes == []


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.Hardtanh, nn.Softplus])
def test_linear(activation: type[nn.Module], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 9), activation(), nn.Linear(9, 4), activation(), nn.Linear(4, CLASSES))
    with torch.no_grad():
        model[0].weight *= 6
        model[0].bias[:2] = -30  # dead, in relu; saturated, in most of the others
    parts = [
        of_module("0", 1, 9, activation="1"),
        of_module("2", 2, 4, activation="3"),
        of_module("4", 3, CLASSES, is_output=True),
    ]
    check(model, torch.randn(8, 5), parts, tmp_path / "run")


def test_linear_over_positions_without_bias(tmp_path: Path) -> None:
    class PerPosition(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 6, bias=False)
            self.act = nn.Tanh()
            self.head = nn.Linear(6, CLASSES)

        def forward(self, x: Tensor) -> Any:
            return self.head(self.act(self.inner(x)).mean(1))

    parts = [Part("inner", 1, 6, ["inner.weight"], activation="act"), of_module("head", 2, CLASSES, is_output=True)]
    check(PerPosition(), torch.randn(6, 5, 4), parts, tmp_path / "run")


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 4), (6, 2, 2, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_activations_in_place(shape: tuple[int, ...], bias: bool, tmp_path: Path) -> None:
    """The pre-activations are those before; some outputs of nn.Linear are views, whose history is rewritten."""
    inner = nn.Linear(4, 6, bias=bias)
    model = nn.Sequential(inner, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * torch.Size(shape[1:-1]).numel(), 3))
    parts = [
        Part("0", 1, 6, ["0.weight"], ["0.bias"] if bias else [], activation="1"),
        of_module("3", 2, CLASSES, is_output=True),
    ]
    check(model, torch.randn(shape), parts, tmp_path / "run")


def after_the_mean(*modules: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(*modules, nn.Flatten(2), Mean(), nn.Linear(channels, CLASSES))


class Mean(nn.Module):
    """Over the last dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_convolutions(dimensions: int, tmp_path: Path) -> None:
    kind: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    model = after_the_mean(kind(2, 6, 3, padding=1), nn.ReLU(), kind(6, 5, 2, groups=1), nn.Tanh(), channels=5)
    with torch.no_grad():
        model[0].bias[1] = -50  # type: ignore[index,union-attr,operator]
    parts = [
        of_module("0", 1, 6, activation="1", channels=1),
        of_module("2", 2, 5, activation="3", channels=1),
        of_module("6", 3, CLASSES, is_output=True),
    ]
    check(model, torch.randn(4, 2, *[4] * dimensions), parts, tmp_path / "run")
    dead = by_key(tmp_path / "run", 0)["layer", "0", 1]["dead_units"]
    assert dead == 1, "the unit that was made to die"


def test_transposed_and_grouped_convolutions(tmp_path: Path) -> None:
    model = after_the_mean(
        nn.ConvTranspose2d(4, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=3), nn.ReLU(), channels=6
    )
    parts = [
        of_module("0", 1, 6, activation="1", channels=1),
        of_module("2", 2, 6, activation="3", channels=1),
        of_module("6", 3, CLASSES, is_output=True),
    ]
    check(model, torch.randn(5, 4, 3, 3), parts, tmp_path / "run")


@pytest.mark.parametrize("sparse", [False, True])
def test_embedding(sparse: bool, tmp_path: Path) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(11, 6, padding_idx=0, sparse=sparse)
            self.head = nn.Linear(6, CLASSES)

        def forward(self, words: Tensor) -> Any:
            return self.head(self.table(words).mean(1))

    words = torch.randint(0, 11, (7, 5))
    words[:, 1] = words[:, 0]  # repeated words: rows of a sparse gradient that are not added up yet
    parts = [Part("table", 1, 6, ["table.weight"]), of_module("head", 2, CLASSES, is_output=True)]
    check(Words(), words, parts, tmp_path / "run")


def test_embedding_bag(tmp_path: Path) -> None:
    model = nn.Sequential(nn.EmbeddingBag(9, 6, mode="mean"), nn.Linear(6, CLASSES))
    parts = [Part("0", 1, 6, ["0.weight"]), of_module("1", 2, CLASSES, is_output=True)]
    check(model, torch.randint(0, 9, (6, 4)), parts, tmp_path / "run")


@pytest.mark.parametrize(
    ("norm", "alone"),
    [
        (nn.LayerNorm(6), True),
        (nn.RMSNorm(6), True),
        (nn.BatchNorm1d(6), False),
        (nn.GroupNorm(2, 6), True),
        (nn.LayerNorm(6, elementwise_affine=False), True),
    ],
)
def test_normalisations_of_vectors(norm: nn.Module, alone: bool, tmp_path: Path) -> None:
    # A bias before a normalisation may have the true gradient 0, of which float32 shows rounding only.
    model = nn.Sequential(nn.Linear(4, 6, bias=False), norm, nn.ReLU(), nn.Linear(6, CLASSES))
    parts = [Part("0", 1, 6, ["0.weight"], activation="2"), of_module("3", 2, CLASSES, is_output=True)]
    if getattr(norm, "weight", None) is not None:
        biases = ["1.bias"] if getattr(norm, "bias", None) is not None else []
        parts.append(Part("1", 1, 6, ["1.weight"], biases, kind="norm"))
    check(model, torch.randn(8, 4), parts, tmp_path / "run", alone=alone)


@pytest.mark.parametrize(
    ("norm", "alone"),
    [(nn.BatchNorm2d(6), False), (nn.GroupNorm(3, 6), True), (nn.InstanceNorm2d(6, affine=True), True)],
)
def test_normalisations_of_images(norm: nn.Module, alone: bool, tmp_path: Path) -> None:
    first, second = nn.Conv2d(2, 6, 3, bias=False), nn.Conv2d(6, 6, 1)
    model = after_the_mean(first, norm, nn.ReLU(inplace=True), second, nn.ReLU(), channels=6)
    parts = [
        Part("0", 1, 6, ["0.weight"], activation="2", channels=1),
        of_module("1", 1, 6, kind="norm"),
        of_module("3", 2, 6, activation="4", channels=1),
        of_module("7", 3, CLASSES, is_output=True),
    ]
    check(model, torch.randn(6, 2, 5, 5), parts, tmp_path / "run", alone=alone)


def test_a_normalisation_before_all_layers(tmp_path: Path) -> None:
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, CLASSES))
    parts = [of_module("0", 0, 4, kind="norm"), of_module("1", 1, CLASSES, is_output=True)]
    check(model, torch.randn(5, 4), parts, tmp_path / "run")


class Attention(nn.Module):
    def __init__(self, batch_first: bool, need_weights: bool, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options)
        self.head = nn.Linear(8, CLASSES)
        self.batch_first, self.need_weights = batch_first, need_weights
        self.keys = options.get("kdim", 8)

    def forward(self, x: Tensor) -> Any:
        """Of [example, position, feature]."""
        if not self.batch_first:
            x = x.transpose(0, 1)
        other = x[..., : self.keys]
        attended, _ = self.attention(x, other, other, need_weights=self.need_weights)
        return self.head(attended.mean(1 if self.batch_first else 0))


IN_PROJECTION = ["attention.in_proj_weight", "attention.out_proj.weight"]
SEPARATE = [f"attention.{name}" for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")]
ATTENTION_BIASES = ["attention.in_proj_bias", "attention.out_proj.bias"]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_is_one_layer(batch_first: bool, need_weights: bool, tmp_path: Path) -> None:
    parts = [
        Part("attention", 1, 8, IN_PROJECTION, ATTENTION_BIASES),
        of_module("head", 2, CLASSES, is_output=True),
    ]
    check(Attention(batch_first, need_weights), torch.randn(5, 4, 8), parts, tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "matrices", "biases"),
    [
        ({"kdim": 6, "vdim": 6}, SEPARATE, ATTENTION_BIASES),
        ({"bias": False}, IN_PROJECTION, []),
        ({"add_bias_kv": True}, IN_PROJECTION, [*ATTENTION_BIASES, "attention.bias_k", "attention.bias_v"]),
    ],
)
def test_attention_with_other_parameters(
    options: dict[str, Any], matrices: list[str], biases: list[str], tmp_path: Path
) -> None:
    parts = [Part("attention", 1, 8, matrices, biases), of_module("head", 2, CLASSES, is_output=True)]
    check(Attention(True, False, **options), torch.randn(5, 4, 8), parts, tmp_path / "run")


@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_encoder_layer(norm_first: bool, tmp_path: Path) -> None:
    block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=norm_first)
    model = nn.Sequential(block, nn.Flatten(), nn.Linear(8 * 4, CLASSES))
    attention = [name.replace("attention", "0.self_attn") for name in IN_PROJECTION]
    biases = [name.replace("attention", "0.self_attn") for name in ATTENTION_BIASES]
    parts = [
        Part("0.self_attn", 1, 8, attention, biases),
        of_module("0.linear1", 2, 12),
        of_module("0.linear2", 3, 8),
        of_module("0.norm1", 0 if norm_first else 1, 8, kind="norm"),
        of_module("0.norm2", 1 if norm_first else 3, 8, kind="norm"),
        of_module("2", 4, CLASSES, is_output=True),
    ]
    check(model, torch.randn(5, 4, 8), parts, tmp_path / "run")


def test_bilinear(tmp_path: Path) -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.act, self.head = nn.Bilinear(3, 2, 6), nn.ReLU(), nn.Linear(6, CLASSES)

        def forward(self, x: Tensor) -> Any:
            return self.head(self.act(self.pair(x[:, :3], x[:, 3:])))

    parts = [of_module("pair", 1, 6, activation="act"), of_module("head", 2, CLASSES, is_output=True)]
    check(Pairs(), torch.randn(7, 5), parts, tmp_path / "run")


@pytest.mark.parametrize("parametrize", [parametrizations.weight_norm, parametrizations.orthogonal])
def test_parametrized_weights(parametrize: Any, tmp_path: Path) -> None:
    """The rows are about the parameters that are trained, from which the weight is computed."""
    model = nn.Sequential(parametrize(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, CLASSES))
    originals = [name for name, p in model.named_parameters() if "parametrizations" in name and p.ndim > 1]
    parts = [Part("0", 1, 6, originals, ["0.bias"], activation="1"), of_module("2", 2, CLASSES, is_output=True)]
    check(model, torch.randn(6, 4), parts, tmp_path / "run")


def test_weights_that_belong_to_no_layer_are_named_in_the_notes(tmp_path: Path) -> None:
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 6)
            self.prototypes = nn.Parameter(torch.randn(6, CLASSES))

        def forward(self, x: Tensor) -> Any:
            return torch.tanh(self.inner(x)) @ self.prototypes

    batch = labelled(torch.randn(6, 4))
    parts = [of_module("inner", 1, 6, is_output=True)]
    recorder = follow(Prototypes(), batch, cross_entropy, parts, tmp_path / "run", examples=6, singles=singles(batch))
    assert any("prototypes" in note for note in recorder.notes)
