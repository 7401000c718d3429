"""The family rnn: stacked recurrent layers of torch, and a linear output of the last time step's state."""

from __future__ import annotations

from torch import Tensor, nn

from gradlab.config.schema import Model
from gradlab.engine.initialise import draw_bias, draw_weight

_CELLS: dict[str, tuple[type[nn.RNNBase], int]] = {"rnn": (nn.RNN, 1), "lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3)}
"""Cell -> torch's module and how many matrices, one for each gate, stand in one of its weights."""


class Recurrent(nn.Module):
    """From sequences [example, time, feature] to outputs [example, output].

    Attributes:
        recurrent: `model.depth` layers of `model.width` units, drawn first.
        output: reads the top layer's hidden state at the last time step.
    """

    def __init__(self, model: Model, in_features: int, out_features: int) -> None:
        super().__init__()
        module, self._gates = _CELLS[str(model.cell)]
        nonlinearity = {"nonlinearity": model.activation.name} if model.cell == "rnn" else {}
        self.recurrent = module(in_features, model.width, model.depth, batch_first=True, **nonlinearity)
        self.output = nn.Linear(model.width, out_features)
        if model.init.name != "pytorch_default":
            self._draw(model)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, [example, output]."""
        states, _ = self.recurrent(x)
        outputs: Tensor = self.output(states[:, -1])
        return outputs

    def _draw(self, model: Model) -> None:
        """Layer by layer the input's and then the hidden state's matrix of each gate, and biases after them.

        Of a gate's two biases, which only ever act as their sum (but in one gate of a GRU), the second is 0.
        """
        for layer in range(model.depth):
            for name in ("weight_ih", "weight_hh"):
                for gate in getattr(self.recurrent, f"{name}_l{layer}").detach().chunk(self._gates):
                    draw_weight(model.init, gate)
            draw_bias(model.init, getattr(self.recurrent, f"bias_ih_l{layer}"))
            nn.init.zeros_(getattr(self.recurrent, f"bias_hh_l{layer}"))
        draw_weight(model.init, self.output.weight)
        draw_bias(model.init, self.output.bias)
