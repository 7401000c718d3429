"""Layers whose products round otherwise, as another release of a library makes them: noise relative to each number."""

from types import SimpleNamespace

import torch
from torch import nn

SIZE = 0.0
"""Standard deviation of the noise, relative to each number."""

_DRAWS = torch.Generator().manual_seed(0)


def noisy(product):
    """A product, each number of it a little off; torch's own random stream stays as it is."""
    noise = torch.randn(product.shape, generator=_DRAWS, dtype=torch.float64)
    return product * (1 + SIZE * noise).to(product.dtype)


class NoisyGradient(torch.autograd.Function):
    """The identity, whose gradient is the noisy result of a product."""

    @staticmethod
    def forward(context, x):
        """x itself."""
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        """The gradient, a little off."""
        return noisy(gradient)


class NoisyLinear(nn.Linear):
    """A linear layer with noise on its three products: the output, the input's gradient and the weight's."""

    def forward(self, x):
        """The layer's output."""
        product = nn.functional.linear(NoisyGradient.apply(x), NoisyGradient.apply(self.weight))
        return noisy(product) + self.bias


class NoisyConv2d(nn.Conv2d):
    """A convolution with noise on its three products."""

    def forward(self, x):
        """The layer's output."""
        product = self._conv_forward(NoisyGradient.apply(x), NoisyGradient.apply(self.weight), None)
        return noisy(product) + self.bias[:, None, None]


nn = SimpleNamespace(**{**vars(nn), "Linear": NoisyLinear, "Conv2d": NoisyConv2d})
