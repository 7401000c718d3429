"""The family rnn: stacked recurrent layers of torch, and a linear output of the last time step's state."""

from __future__ import annotations

from torch import Tensor, nn

from gradlab.config.schema import Model
from gradlab.engine.initialise import draw_bias, draw_weight

_GATES = {"rnn": 1, "lstm": 4, "gru": 3}
"""Cell -> how many matrices, one for each gate, stand in one of its weights."""


class Recurrent(nn.Module):
    """From sequences [example, time, feature] to outputs [example, output].

    Attributes:
        recurrent: `model.depth` layers of `model.width` units, drawn first.
        output: reads the top layer's hidden state at the last time step.
    """

    def __init__(self, model: Model, in_features: int, out_features: int) -> None:
        super().__init__()
        self.recurrent = _layers(model, in_features)
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
        gates = _GATES[str(model.cell)]
        for layer in range(model.depth):
            for name in ("weight_ih", "weight_hh"):
                for gate in getattr(self.recurrent, f"{name}_l{layer}").detach().chunk(gates):
                    draw_weight(model.init, gate)
            draw_bias(model.init, getattr(self.recurrent, f"bias_ih_l{layer}"))
            nn.init.zeros_(getattr(self.recurrent, f"bias_hh_l{layer}"))
        draw_weight(model.init, self.output.weight)
        draw_bias(model.init, self.output.bias)


def _layers(model: Model, in_features: int) -> nn.RNNBase:
    sizes = (in_features, model.width, model.depth)
    match model.cell:
        case "lstm":
            return nn.LSTM(*sizes, batch_first=True)
        case "gru":
            return nn.GRU(*sizes, batch_first=True)
    return nn.RNN(*sizes, batch_first=True, nonlinearity=model.activation.name)
