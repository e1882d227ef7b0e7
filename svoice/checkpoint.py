"""Checkpoints of a training, and the file of a trained network.

Both load with `weights_only=True`: they hold tensors and plain values, and no code.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from contract.errors import InputError
from contract.files import write
from svoice.network import SVoice
from svoice.params import Params


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Returns a copy of the network's weights in main memory, by name.

    Args:
        network: the network, on any device.
    """
    return {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}


def to_bytes(content: Any) -> bytes:
    """Returns the bytes of a file that `torch.load` reads.

    Args:
        content: tensors and plain values, in dictionaries, lists and tuples.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _read(path: str | Path, remedy: str) -> Any:
    """Reads a file that holds the result of `to_bytes`.

    Args:
        path: the file, which exists.
        remedy: what the user can do if it is not such a file.

    Raises:
        InputError: PyTorch cannot read the file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:  # the reader does not document what it raises for other content
        raise InputError(path, "is not a file of PyTorch, or is damaged", remedy) from None


def save_checkpoint(path: Path, configuration: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replaces the checkpoint in one step: a process that dies here leaves the previous one.

    Args:
        path: the file.
        configuration: what the checkpoint has to fit, as `training.configuration` returns it.
        state: where the training stands.
    """
    write(path, to_bytes({"configuration": configuration, **state}))


def load_checkpoint(path: Path, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a checkpoint.

    Args:
        path: the file.
        configuration: the configuration of the training that is to continue from the checkpoint.

    Returns:
        The state that was given to `save_checkpoint`.

    Raises:
        InputError: there is no such file, or it is not a checkpoint of this configuration.
    """
    remedy = "remove it, or replace it with a checkpoint of svoice.train"
    try:
        checkpoint = _read(path, remedy)
    except FileNotFoundError:
        remedy = "name the checkpoint.pt of an unfinished training"
        raise InputError(path, "there is no such file", remedy) from None
    if not isinstance(checkpoint, dict):
        raise InputError(path, "is not a checkpoint of svoice.train", remedy)
    if checkpoint.pop("configuration", None) != configuration:
        raise InputError(
            path, "belongs to another configuration", "remove it, or restore that configuration"
        )
    return checkpoint


def model_bytes(network: SVoice, weights: Mapping[str, Tensor]) -> bytes:
    """Returns the file of a trained network.

    Args:
        network: the network, of which the file holds the configuration.
        weights: the weights, by name.
    """
    return to_bytes({"configuration": network.configuration, "state_dict": weights})


def load_model(path: str | Path) -> SVoice:
    """Reads a trained network.

    Args:
        path: a file of `model_bytes`, or the checkpoint of an unfinished training, of which the
            best weights so far are used.

    Returns:
        The network, in evaluation mode.

    Raises:
        InputError: there is no such file, or it does not hold a network.
    """
    remedy = "train SVoice again, or name another file of svoice.train"
    try:
        content = _read(path, remedy)
    except FileNotFoundError:
        remedy = "train SVoice first, or correct the path"
        raise InputError(path, "there is no such file", remedy) from None
    try:
        sizes, weights = content["configuration"], content.get("state_dict")
        if "best_weights" in content:
            sizes = Params.of(sizes).network_sizes
            weights = content["best_weights"]
        network = SVoice(**sizes)
        network.load_state_dict(weights)
    except Exception:  # other content can make this fail in any way
        raise InputError(path, "does not hold a network of svoice.train", remedy) from None
    return network.eval()
