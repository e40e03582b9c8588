"""The same network, loss, momentum and batches in PyTorch, as its users would write them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dgex_jax.train.pylearn2 import learning_rate_scales

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MISSING = "PyTorch is not installed here, so its column is empty"


def load_torch() -> Any | None:
    """Import PyTorch; ``None`` where it is not installed."""
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError:
        return None


@dataclass(frozen=True)
class TorchTraining:
    """A network in training on one device; made by `torch_training`.

    - `torch`: the module.
    - `layers`: ``torch.nn.Linear`` of each layer, first to last.
    - `loss`: ``loss(X, Y)`` of a batch.
    - `optimizer`: SGD with momentum, one group of parameters for each scale of the learning rate.
    - `X`, `Y`: training profiles on the device.
    - `batch_size`: profiles an update; the short last batch is trained on as well.
    """

    torch: Any
    layers: Any
    loss: Any
    optimizer: Any
    X: Any
    Y: Any
    batch_size: int

    def epoch(self, order: NDArray[np.int32]) -> None:
        """Train on all batches of `order` ``(n_profiles,)`` and wait for the device."""
        rows = self.torch.from_numpy(order.astype(np.int64)).to(self.X.device)
        for start in range(0, len(order), self.batch_size):
            self.step(rows[start : start + self.batch_size])
        if self.X.device.type == "cuda":
            self.torch.cuda.synchronize()

    def step(self, rows: Any) -> None:
        """Update on one batch."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.X[rows], self.Y[rows]).backward()
        self.optimizer.step()

    def set_learning_rate(self, rate: float) -> None:
        """Change the rate as the original does: velocities keep the rate they were made with.

        PyTorch multiplies the velocity by the rate of the moment, so its buffers are rescaled.
        """
        for group in self.optimizer.param_groups:
            new = rate * group["scale"]
            for weights in group["params"]:
                buffer = self.optimizer.state[weights].get("momentum_buffer")
                if buffer is not None:
                    buffer.mul_(group["lr"] / new)
            group["lr"] = new

    def params(self) -> dict[str, dict[str, NDArray[np.float32]]]:
        """Return the weights as `dgex_jax` lays them out."""
        names = [*(f"hidden{number + 1}" for number in range(len(self.layers) - 1)), "output"]
        return {
            name: {
                "kernel": layer.weight.detach().cpu().numpy().T.copy(),
                "bias": layer.bias.detach().cpu().numpy().copy(),
            }
            for name, layer in zip(names, self.layers, strict=True)
        }


def torch_training(
    torch: Any,
    params: Mapping[str, Mapping[str, NDArray[np.float32]]],
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    *,
    learning_rate: float,
    momentum: float = 0.5,
    dropout: float = 0.1,
    batch_size: int = 200,
    device: str = "cpu",
    compiled: str | None = None,
) -> TorchTraining:
    """Set a training up.

    - `torch`: from `load_torch`.
    - `params`: initial weights, ``{"hidden1": {"kernel", "bias"}, …, "output": …}``.
    - `X`, `Y`: ``(n_profiles, n_landmarks)`` and ``(n_profiles, n_targets)`` float32.
    - `learning_rate`: of the first weights and all biases; three times that for the other weights.
    - `momentum`, `dropout`, `batch_size`: as in `dgex_jax.config`.
    - `device`: ``cpu`` or ``cuda``.
    - `compiled`: mode of ``torch.compile`` for the loss and its gradient; ``None`` is eager.
    """
    functional = torch.nn.functional
    layers = torch.nn.ModuleList([linear(torch, one) for one in params.values()]).to(device)

    def loss(X: Any, Y: Any) -> Any:
        hidden = X
        for layer in layers[:-1]:
            hidden = functional.dropout(torch.tanh(layer(hidden)), dropout)
        return (layers[-1](hidden) - Y).square().sum() / X.shape[0]

    groups: dict[float, list[Any]] = {}
    for layer, scales in zip(layers, learning_rate_scales(len(layers) - 1).values(), strict=True):
        groups.setdefault(scales["kernel"], []).append(layer.weight)
        groups.setdefault(scales["bias"], []).append(layer.bias)
    optimizer = torch.optim.SGD(
        [
            {"params": weights, "lr": learning_rate * scale, "scale": scale}
            for scale, weights in groups.items()
        ],
        momentum=momentum,
        # The quickest of PyTorch's three implementations, on both kinds of device.
        fused=True,
    )
    return TorchTraining(
        torch=torch,
        layers=layers,
        loss=torch.compile(loss, mode=compiled) if compiled is not None else loss,
        optimizer=optimizer,
        X=torch.from_numpy(X).to(device),
        Y=torch.from_numpy(Y).to(device),
        batch_size=batch_size,
    )


def linear(torch: Any, weights: Mapping[str, NDArray[np.float32]]) -> Any:
    """Make a ``torch.nn.Linear`` of a layer's weights."""
    inputs, outputs = weights["kernel"].shape
    layer = torch.nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights["kernel"].T)))
        layer.bias.copy_(torch.from_numpy(np.ascontiguousarray(weights["bias"])))
    return layer
