"""What helps to write a config: a commented one to start from, and its JSON Schema for editors."""

from __future__ import annotations

from typing import Any

from gradlab.config.fields import PARAMETERS, SECTIONS, SWEEP_PATHS
from gradlab.config.schema import Experiment

_STARTER = """\
# A gradlab experiment. Every setting below but the sweep stands at its default: delete what you don't change.
# `gradlab run FILE --dry-run` lists the trials, `gradlab run FILE` trains them.

name: depth-vs-activation       # names the run directory: letters, digits, '.', '_' and '-' (default: the file's name)

data:
  name: digits                  # digits | breast_cancer | diabetes | moons | spirals | gaussian | multilabel
                                #   | adding | delayed_recall (generated sequences) | npz | custom
  standardize: true             # features to mean 0, variance 1, from the training split; of generated sequences false
  # eval_fraction: 0.2          # share of the examples held out for evaluation (all but npz, custom)
  # split_seed: 0               # seed of the split and of generated data, whatever the trial (all but npz, custom)
  # n_samples: 1000             # examples to generate (moons, spirals, gaussian, multilabel, adding, delayed_recall)
  # n_features: 20              # features to generate (gaussian, multilabel)
  # n_labels: 5                 # labels of each example (multilabel)
  # n_symbols: 8                # symbols of which one is to be recalled (delayed_recall)
  # noise: 0.1                  # deviation of the noise on coordinates, 0.02 if left out of spirals (moons, spirals)
  # turns: 1.5                  # turns of each arm (spirals)
  # separation: 2.0             # distance between the means of the two classes (gaussian)
  # path: data.npz              # holds x_train, y_train, x_eval, y_eval; relative to this file (npz)
  # task: multiclass            # multiclass | binary | multilabel | regression (npz)
  # factory: data.py:make       # file.py:function that makes the data (custom)
  # kwargs: {}                  # keyword arguments of the factory (custom)

model:
  family: mlp                   # mlp | cnn | rnn | transformer | custom
  depth: 10                     # hidden layers (1 if left out of an rnn, 4 blocks of a transformer); the output layer
                                #   comes on top
  width: 64                     # units (channels for cnn) of every hidden layer
  activation: relu              # linear | sigmoid | tanh | relu | leaky_relu | elu | selu | gelu | silu | softplus
                                #   | hardtanh, with parameters as in {name: leaky_relu, negative_slope: 0.2},
                                #   or your own file.py:function; of an rnn tanh (if left out) | relu
  init: pytorch_default         # pytorch_default | xavier_normal | xavier_uniform | he_normal | he_uniform
                                #   | lecun_normal | orthogonal, or {name: normal, sigma_w: 1.5, sigma_b: 0.1}
                                #   with Var(W) = sigma_w^2 / fan_in and Var(b) = sigma_b^2
  norm: none                    # none | layer | batch, between the linear map and the activation;
                                #   of a transformer none | pre (if left out) | post
  residual: false               # add the layer's input to its output, from the second hidden layer on
  # cell: rnn                   # rnn | lstm | gru (rnn)
  # heads: 4                    # attention heads, which divide the width (transformer)
  # sequence_length: 20         # time steps of a generated sequence (rnn, transformer, custom)
                                #   or how many steps flat features are cut into, one each if left out
  # factory: net.py:make        # file.py:function that makes a torch.nn.Module (custom)
  # kwargs: {}                  # keyword arguments of the factory (custom, which reads only these)

train:
  steps: 500                    # updates
  batch_size: 128               # examples in each minibatch
  optimizer: sgd                # sgd | momentum | adam | adamw | rmsprop, torch.optim's own
  lr: 0.05                      # learning rate
  weight_decay: 0.0             # as the optimizer of torch.optim takes it
  # momentum: 0.9               # with `optimizer: momentum`, which is SGD with it

record:
  every: 10                     # steps between records; step 0 and the last step are always recorded
  probe: 512                    # fixed training examples on which dead and saturated units are judged

seeds: 5                        # a count (seeds 0, 1, ...) or a list such as [3, 14, 15]

sweep:                          # keys are paths of the fields above; each point runs with all seeds
  grid:                         # the product of all lists
    model.depth: [2, 10, 30]
    model.activation: [sigmoid, tanh, relu]
  zip: []                       # mappings; inside one the lists advance together:
                                #   - {model.width: [32, 64], train.lr: [0.1, 0.05]}
  exclude: []                   # partial matches taken out: - {model.depth: 30, model.activation: [sigmoid, tanh]}
  include: []                   # whole extra points, added last: - {model.depth: 50, model.init: he_normal}

diagnosis:                      # thresholds of the words in the summary
  vanishing: 0.001              # where gradient_ratio, first hidden layer over last, is below this
  exploding: 1000.0             # where gradient_ratio is above this
  dying: 0.5                    # where more than this share of the hidden units is dead
  saturated: 0.5                # where more than this share of (unit, example) pairs is saturated

check:                          # how large a change matters to `gradlab check`: a ratio of means, a step in a share
                                # its `seeds`, 9 or more, are those of a new baseline: the config's, or 12 at least
  weight_grad_norm: 1.25        # weight gradient of a layer
  delta_rms: 1.25               # gradient of an example's loss by the layer's pre-activations
  activation_rms: 1.25          # outputs of the layer
  update_ratio: 1.25            # size of an update, relative to the weights
  weight_norm: 1.25             # initial weights of the layer
  final_train_loss: 1.25
  final_eval_loss: 1.25
  dead_units: 0.05              # share of the layer's units
  zero_gradient_units: 0.05     # share of the layer's units
  saturated_fraction: 0.05      # share of (unit, example) pairs
  non_finite: 0.05              # share of the entries of the layer's weight gradient
"""


def starter_config() -> str:
    """A commented config that names every field and runs as it is."""
    return _STARTER


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a config, with the fields that a sweep can name and the values they take."""
    schema = Experiment.model_json_schema()
    fields = {path: _field(path) for path in SWEEP_PATHS}
    free = {r"^(data|model)\.kwargs\..+$": True}
    lists = {path: {"type": "array", "items": field, "minItems": 1} for path, field in fields.items()}
    options = {path: {"anyOf": [field, lists[path]]} for path, field in fields.items()}
    axes = _mapping(lists, {key: {"type": "array", "minItems": 1} for key in free})
    sweep = schema["$defs"]["Sweep"]["properties"]
    sweep["grid"] |= axes
    for name, entry in {"zip": axes, "exclude": _mapping(options, free), "include": _mapping(fields, free)}.items():
        sweep[name]["items"] = entry | {"minProperties": 1}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "gradlab config"}


def _field(path: str) -> dict[str, Any]:
    if path in PARAMETERS:
        return {"type": "number", "description": f"a parameter of {PARAMETERS[path]}"}
    section, key = path.split(".")
    return {"$ref": f"#/$defs/{SECTIONS[section].__name__}/properties/{key}"}


def _mapping(properties: dict[str, Any], patterns: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": patterns,
        "additionalProperties": False,
    }
