"""Checkpoints of a training, and the weights it ends with. Both load with weights_only=True."""

import io

import torch

from svoice import files
from svoice.errors import InputError
from svoice.network import SVoice
from svoice.params import network_sizes


def snapshot(network):
    """A copy of the network's weights in main memory."""
    return {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}


def to_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read(path, expected):
    """The content of a file of `to_bytes`. Raises InputError for any other file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(path, "no file", expected) from None
    except OSError:
        raise
    except Exception:  # what foreign bytes raise in the reader is not documented
        raise InputError(path, "an unreadable file", expected) from None


def save_checkpoint(path, configuration, state):
    """Replace the checkpoint at once: a process that dies here leaves the one before."""
    files.replace({path: to_bytes({"configuration": configuration, **state})})


def load_checkpoint(path, configuration):
    """The state given to `save_checkpoint`. Raises InputError for another configuration's."""
    expected = "a checkpoint of svoice.train"
    checkpoint = read(path, expected)
    if not isinstance(checkpoint, dict):
        raise InputError(path, "another kind of file", expected)
    if checkpoint.pop("configuration", None) != configuration:
        raise InputError(path, "another configuration's checkpoint", "this configuration's")
    return checkpoint


def model_bytes(network, weights):
    """The file of a trained network: its configuration and the given weights."""
    return to_bytes({"configuration": network.configuration, "state_dict": weights})


def load_model(path):
    """A trained network, in evaluation mode: that of `model_bytes`, or of a checkpoint of an
    unfinished training, with its best weights so far. Raises InputError where there is none."""
    expected = "the network that svoice.train writes"
    content = read(path, expected)
    try:
        sizes, weights = content["configuration"], content.get("state_dict")
        if "best_weights" in content:
            sizes = network_sizes(sizes)
            weights = content["best_weights"]
        network = SVoice(**sizes)
        network.load_state_dict(weights)
    except Exception:  # what foreign content raises could be anything
        raise InputError(path, "another kind of file", expected) from None
    return network.eval()
