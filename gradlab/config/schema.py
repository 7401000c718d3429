"""The config as pydantic models: every field, its range and its default, declared once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gradlab.config.choices import check_function_path
from gradlab.config.model import Model as Model
from gradlab.config.section import PARTIAL as PARTIAL
from gradlab.config.section import Section as Section
from gradlab.config.section import fill_unset, is_partial
from gradlab.config.section import missing_options as missing_options

MAX_TRIALS = 1_000_000
MAX_SEED = 2**63 - 1

DATA_OPTIONS: dict[str, dict[str, Any]] = {
    "digits": {},
    "breast_cancer": {},
    "diabetes": {},
    "moons": {"n_samples": 1000, "noise": 0.1},
    "spirals": {"n_samples": 1000, "noise": 0.02, "turns": 1.5},
    "gaussian": {"n_samples": 1000, "n_features": 20, "separation": 2.0},
    "multilabel": {"n_samples": 1000, "n_features": 20, "n_labels": 5},
    "adding": {"n_samples": 1000, "standardize": False},
    "delayed_recall": {"n_samples": 1000, "n_symbols": 8, "standardize": False},
    "npz": {"path": None, "task": None},
    "custom": {"factory": None, "kwargs": {}},
}
"""Data set name -> the options that it reads, with their defaults (None: the user must say)."""

SEQUENCES = ("adding", "delayed_recall")
"""Data sets of generated sequences, as long as `model.sequence_length` says."""

DEFAULT_SEQUENCE_LENGTH = 20
"""Time steps of generated sequences where `model.sequence_length` doesn't say."""

OWN_DATA = ("npz", "custom")
"""Data of the user's own."""

REGRESSIONS = ("diabetes", "adding")
"""Data sets that are regressions; all others but the user's own are classifications."""

SPLIT_OPTIONS: dict[str, Any] = {"eval_fraction": 0.2, "split_seed": 0}
"""Options of every data set that gradlab splits itself, all but `npz` and `custom`."""

Count = Annotated[int, Field(ge=1, le=10**9)]


def _default(option: str) -> dict[str, Any]:
    """What editors are told of an option whose default isn't that of every data set."""
    return {"default": SPLIT_OPTIONS[option]}


class Data(Section):
    """The data set. Options that a data set does not read are left out of the resolved config."""

    name: Literal[
        "digits",
        "breast_cancer",
        "diabetes",
        "moons",
        "spirals",
        "gaussian",
        "multilabel",
        "adding",
        "delayed_recall",
        "npz",
        "custom",
    ] = Field("digits", description="the data set")
    standardize: bool = Field(
        True, description="features to mean 0, variance 1, from the training split (false for generated sequences)"
    )
    eval_fraction: float | None = Field(
        None, gt=0, lt=1, description="share of the examples held out", json_schema_extra=_default("eval_fraction")
    )
    split_seed: int | None = Field(
        None,
        ge=0,
        le=2**32 - 1,
        description="seed of generation and split, whatever the trial",
        json_schema_extra=_default("split_seed"),
    )
    n_samples: int | None = Field(None, ge=10, le=10**7, description="examples to generate, both splits together")
    n_features: int | None = Field(None, ge=1, le=10**5, description="features to generate")
    n_labels: int | None = Field(None, ge=1, le=10**4, description="labels of each example")
    n_symbols: int | None = Field(None, ge=2, le=10**4, description="symbols of which one is to be recalled")
    noise: float | None = Field(None, ge=0, description="standard deviation of the noise on coordinates")
    turns: float | None = Field(None, gt=0, le=100, description="turns of each spiral arm")
    separation: float | None = Field(None, ge=0, description="distance between the two class means")
    path: str | None = Field(None, min_length=1, description="the .npz file, relative to the config")
    task: Literal["multiclass", "binary", "multilabel", "regression"] | None = Field(
        None, description="what the arrays of an .npz are to be learnt as"
    )
    factory: str | None = Field(None, description="file.py:function that makes the data")
    kwargs: dict[str, Any] | None = Field(None, description="keyword arguments of the factory")

    @field_validator("factory")
    @classmethod
    def _factory_path(cls, value: str | None) -> str | None:
        return value if value is None else check_function_path(value)

    @model_validator(mode="after")
    def _need_options(self, info: ValidationInfo) -> Data:
        missing = [key for key in required_options(self.name) if getattr(self, key) is None]
        if missing and not is_partial(info):
            raise missing_options("data.name", self.name, missing)
        return self

    @model_validator(mode="after")
    def _fill_defaults(self) -> Data:
        fill_unset(self, data_options(self.name))
        return self

    def given(self) -> dict[str, Any]:
        """Without the defaults that belong to this data set: another has its own."""
        filled = {"standardize", *data_options(self.name)} - self.model_fields_set
        return {key: value for key, value in self.model_dump().items() if key not in filled}

    def unused_fields(self) -> list[str]:
        """Options that are set although this data set does not read them."""
        known = data_options(self.name).keys() | {"name", "standardize"}
        return [key for key in type(self).model_fields if key not in known and getattr(self, key) is not None]


def data_options(name: str) -> dict[str, Any]:
    """The options that data set `name` reads, with their defaults."""
    return DATA_OPTIONS[name] | ({} if name in OWN_DATA else SPLIT_OPTIONS)


def required_options(name: str) -> list[str]:
    """The options without which data set `name` cannot be made."""
    return [key for key, default in DATA_OPTIONS[name].items() if default is None]


class Train(Section):
    """How each trial is trained; the optimizers are torch.optim's, with its defaults."""

    steps: Count = Field(500, description="updates")
    batch_size: Count = Field(128, description="examples in each minibatch")
    optimizer: Literal["sgd", "momentum", "adam", "adamw", "rmsprop"] = Field(
        "sgd", description="torch.optim's, with its defaults; momentum is SGD with momentum"
    )
    lr: float = Field(0.05, ge=0, description="learning rate")
    weight_decay: float = Field(0.0, ge=0, description="as the optimizer of torch.optim takes it")
    momentum: float = Field(0.9, ge=0, description="used by optimizer: momentum")

    def unused_fields(self) -> list[str]:
        """Only the optimizer `momentum` reads `momentum`."""
        return [] if self.optimizer == "momentum" else ["momentum"]


class Record(Section):
    """What is recorded, and how often."""

    every: Count = Field(10, description="steps between records; step 0 and the last step are always recorded")
    probe: Count = Field(512, description="training examples on which dead and saturated units are judged")


class Diagnosis(Section):
    """Thresholds of the diagnosis (see `gradlab.analysis.diagnosis`)."""

    vanishing: float = Field(1e-3, gt=0, description="vanishing where gradient_ratio is below this")
    exploding: float = Field(1e3, gt=0, description="exploding where gradient_ratio is above this")
    dying: float = Field(0.5, ge=0, le=1, description="dying where dead_fraction is above this")
    saturated: float = Field(0.5, ge=0, le=1, description="saturated where saturated_fraction is above this")

    @model_validator(mode="after")
    def _ordered(self) -> Diagnosis:
        if self.vanishing >= self.exploding:
            raise PydanticCustomError(
                "threshold_order",
                "diagnosis.vanishing ({vanishing}) must be below diagnosis.exploding ({exploding})",
                {"vanishing": self.vanishing, "exploding": self.exploding},
            )
        return self


MIN_CHECK_SEEDS = 9
"""Fewer seeds can't make any change significant at 0.5 %: 9 pairs have 512 patterns of signs, two of which are as
extreme as can be; 8 have 256."""

Ratio = Annotated[float, Field(gt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Check(Section):
    """How large a change must be for `gradlab check` to matter: a ratio of geometric means, or a step in a share."""

    seeds: int | None = Field(
        None, ge=MIN_CHECK_SEEDS, le=10_000, description="seeds of a new baseline (the config's own, and 12 at least)"
    )
    weight_grad_norm: Ratio = Field(1.25, description="a layer's weight gradient")
    delta_rms: Ratio = Field(1.25, description="gradient of an example's loss by a layer's pre-activations")
    activation_rms: Ratio = Field(1.25, description="outputs of a layer")
    update_ratio: Ratio = Field(1.25, description="size of an update, relative to the weights")
    weight_norm: Ratio = Field(1.25, description="initial weights of a layer: judged at step 0")
    final_train_loss: Ratio = Field(1.25, description="of the whole network")
    final_eval_loss: Ratio = Field(1.25, description="of the whole network")
    dead_units: Share = Field(0.05, description="share of the layer's units")
    zero_gradient_units: Share = Field(0.05, description="share of the layer's units")
    saturated_fraction: Share = Field(0.05, description="share of the layer's (unit, probe example) pairs")
    non_finite: Share = Field(0.05, description="share of the entries of the layer's weight gradient")


class Sweep(Section):
    """The trials of an experiment: `grid` x `zip`, less `exclude`, plus `include`; keys are field paths."""

    grid: dict[str, list[Any]] = Field(default_factory=dict, description="the product of all lists")
    zip: list[dict[str, list[Any]]] = Field(
        default_factory=list, description="inside one mapping the lists advance together"
    )
    exclude: list[dict[str, Any]] = Field(default_factory=list, description="partial matches taken out")
    include: list[dict[str, Any]] = Field(default_factory=list, description="whole extra points, added last")

    def paths(self) -> list[str]:
        """Every swept field path, in order of appearance."""
        blocks = [self.grid, *self.zip, *self.include]
        return list(dict.fromkeys(path for block in blocks for path in block))


class Experiment(Section):
    """A whole config."""

    name: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="names the run directory")
    data: Data = Field(default_factory=Data)
    model: Model = Field(default_factory=Model)
    train: Train = Field(default_factory=Train)
    record: Record = Field(default_factory=Record)
    seeds: (
        Annotated[int, Field(ge=1, le=MAX_TRIALS)]
        | Annotated[list[Annotated[int, Field(ge=0, le=MAX_SEED)]], Field(min_length=1, max_length=MAX_TRIALS)]
    ) = Field(5, description="a count (0, 1, ...) or a list")
    sweep: Sweep = Field(default_factory=Sweep)
    diagnosis: Diagnosis = Field(default_factory=Diagnosis)
    check: Check = Field(default_factory=Check)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: int | list[int]) -> int | list[int]:
        if isinstance(seeds, list) and len(set(seeds)) < len(seeds):
            raise PydanticCustomError("repeated_seed", "a seed stands twice")
        return seeds

    @model_validator(mode="after")
    def _fill_length(self) -> Experiment:
        if self.data.name in SEQUENCES and self.model.reads("sequence_length"):
            model = self.model.model_copy()
            fill_unset(model, {"sequence_length": DEFAULT_SEQUENCE_LENGTH})
            object.__setattr__(self, "model", model)
        return self

    @property
    def seed_list(self) -> range | list[int]:
        """The seeds themselves."""
        return range(self.seeds) if isinstance(self.seeds, int) else self.seeds
