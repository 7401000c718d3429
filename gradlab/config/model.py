"""The `model` section: families of networks, what each reads, and what doesn't go together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gradlab.config.choices import Activation, Choice, Init, check_function_path
from gradlab.config.section import Section, fill_unset, is_partial, missing_options

MODEL_READS: dict[str, tuple[str, ...]] = {
    "mlp": ("depth", "width", "activation", "init", "norm", "residual"),
    "cnn": ("depth", "width", "activation", "init", "norm", "residual"),
    "rnn": ("depth", "width", "activation", "init", "cell", "sequence_length"),
    "transformer": ("depth", "width", "activation", "init", "norm", "heads", "sequence_length"),
    "custom": ("factory", "kwargs", "sequence_length"),
}
"""Model family -> the fields of `model` that it reads beside `family`. An rnn of gated cells has no activation to
choose, and a custom model reads a sequence length only where the data are generated sequences."""

FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "cnn": {},
    "rnn": {"depth": 1, "activation": Choice("tanh"), "cell": "rnn"},
    "transformer": {"depth": 4, "norm": "pre", "heads": 4},
    "custom": {},
}
"""Model family -> defaults of its own."""

NORMS = {"mlp": ("none", "layer", "batch"), "cnn": ("none", "layer", "batch"), "transformer": ("none", "pre", "post")}
"""Model family -> the norms that it has, for those that read `model.norm`."""

CELL_ACTIVATIONS = ("tanh", "relu")
"""Activations of an rnn of plain cells: those of nn.RNN."""

_DEPENDENT = {"sequence_length"}.union(*FAMILY_DEFAULTS.values())
"""Fields whose default depends on other settings."""


class Model(Section):
    """The network: `depth` hidden layers of `width` units, the output layer on top."""

    family: Literal["mlp", "cnn", "rnn", "transformer", "custom"] = Field("mlp", description="what kind of network")
    depth: int = Field(
        10, ge=1, le=10_000, description="hidden layers (blocks of a transformer); the output layer comes on top"
    )
    width: int = Field(
        64, ge=1, le=65_536, description="units of every hidden layer (channels for cnn, d_model for transformer)"
    )
    activation: Activation = Field(
        Choice("relu"),
        description="a name, a mapping with parameters, or file.py:function",
        json_schema_extra={"default": "relu"},
    )
    init: Init = Field(
        Choice("pytorch_default"),
        description="how weights and biases are drawn",
        json_schema_extra={"default": "pytorch_default"},
    )
    norm: Literal["none", "layer", "batch", "pre", "post"] = Field(
        "none", description="normalisation: none, layer or batch; of a transformer pre, post or none"
    )
    residual: bool = Field(False, description="h_l = h_{l-1} + phi(norm(z_l)) from the second layer on")
    cell: Literal["rnn", "lstm", "gru"] | None = Field(None, description="cell of family rnn")
    heads: int | None = Field(
        None, ge=1, le=65_536, description="attention heads of family transformer; they divide the width"
    )
    sequence_length: int | None = Field(
        None, ge=1, le=10**6, description="time steps of generated sequences, or into how many an example is cut"
    )
    factory: str | None = Field(None, description="file.py:function that makes an nn.Module (family: custom)")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the factory")

    @field_validator("factory")
    @classmethod
    def _factory_path(cls, value: str | None) -> str | None:
        return value if value is None else check_function_path(value)

    @model_validator(mode="after")
    def _fill_defaults(self) -> Model:
        fill_unset(self, FAMILY_DEFAULTS[self.family])
        return self

    @model_validator(mode="after")
    def _go_together(self, info: ValidationInfo) -> Model:
        if is_partial(info):
            return self
        if self.family == "custom" and self.factory is None:
            raise missing_options("model.family", "custom", ["factory"])
        norms = NORMS.get(self.family, (self.norm,))
        if self.norm not in norms:
            raise _setting_error("norm", f"model.norm '{self.norm}' must be one of {', '.join(norms)}", self.family)
        if self.family == "transformer" and self.heads and self.width % self.heads:
            told = f"model.heads ({self.heads}) must divide model.width ({self.width})"
            raise _setting_error("heads", told, self.family)
        if self.family == "rnn" and self.cell == "rnn" and self.activation.name not in CELL_ACTIVATIONS:
            told = f"model.activation '{self.activation.label}' must be one of {', '.join(CELL_ACTIVATIONS)}"
            raise _setting_error("activation", told, self.family)
        return self

    def given(self) -> dict[str, Any]:
        """Without the defaults that belong to this family: another has its own."""
        filled = _DEPENDENT - self.model_fields_set
        return {key: value for key, value in self.model_dump().items() if key not in filled}

    def unused_fields(self) -> list[str]:
        """Fields that this family does not read; gated cells have no activation to choose."""
        return [key for key in type(self).model_fields if key != "family" and not self.reads(key)]

    @property
    def is_stacked(self) -> bool:
        """Whether gradlab's own engine trains such networks stacked; others are `nn.Module`s."""
        return self.family in {"mlp", "cnn"}

    def reads(self, key: str) -> bool:
        """Whether a model of this family, and cell, reads the field `key`."""
        gated = self.family == "rnn" and self.cell != "rnn"
        return key in MODEL_READS[self.family] and not (gated and key == "activation")


def _setting_error(key: str, message: str, family: str) -> PydanticCustomError:
    """The error that the setting `key` of the model doesn't go with its family."""
    context = {"key": key, "told": f"{message} where model.family is '{family}'"}
    return PydanticCustomError("joint_setting", "{told}", context)
