"""The variances of weights and biases at initialisation, as torch draws them."""

from __future__ import annotations

from dataclasses import dataclass

from gradlab.config.choices import Choice


@dataclass(frozen=True)
class LayerLaw:
    """The law of one layer's weights and biases.

    Attributes:
        sigma_w2: fan_in Var(W).
        sigma_b2: Var(b).
    """

    sigma_w2: float
    sigma_b2: float = 0.0


def init_variances(init: Choice, fan_in: int, fan_out: int, kernel: int = 1) -> LayerLaw:
    """The law that `init` gives a layer.

    Args:
        init: one of `gradlab.config.choices.INITS`.
        fan_in: inputs of a unit: kernel x input channels for a convolution.
        fan_out: kernel x output channels.
        kernel: weights between a pair of channels: 1 for a linear layer, 9 for a 3 x 3 convolution. Only
            `orthogonal` asks for it, since torch orthogonalises the matrix [output channels, fan_in].

    Raises:
        KeyError: for an init that is not in `INITS`.

    The sources: Glorot and Bengio 2010 (xavier), He et al. 2015 (he), LeCun et al. 1998 (lecun_normal), Saxe et
    al. 2014 (orthogonal; rows or columns have length 1, so the entries' mean square is 1 / max(rows, columns));
    torch's default is uniform within 1/sqrt(fan_in), weights and biases.
    """
    settings = dict(init.parameters)
    match init.name:
        case "pytorch_default":
            return LayerLaw(1 / 3, 1 / (3 * fan_in))
        case "xavier_normal" | "xavier_uniform":
            return LayerLaw(2 * fan_in / (fan_in + fan_out))
        case "he_normal" | "he_uniform":
            return LayerLaw(2.0)
        case "lecun_normal":
            return LayerLaw(1.0)
        case "orthogonal":
            return LayerLaw(fan_in / max(fan_in, fan_out // kernel))
        case "normal":
            return LayerLaw(settings["sigma_w"] ** 2, settings["sigma_b"] ** 2)
    raise KeyError(init.name)


def hidden_laws(init: Choice, in_features: int, width: int, depth: int, kernel: int = 1) -> tuple[LayerLaw, ...]:
    """The laws of hidden layers 1..depth of a network whose layers have `width` units (channels).

    Args:
        in_features: features of the input (its channels for a convolution).
        kernel: as in `init_variances`: 9 for gradlab's cnn, 1 for its mlp.
    """
    first = init_variances(init, kernel * in_features, kernel * width, kernel)
    return (first, *[init_variances(init, kernel * width, kernel * width, kernel)] * (depth - 1))
