"""torch.compile for the network."""

import torch

from svoice.errors import InputError


def compile_network(network):
    """Compile the network's calls, in place: its weights keep their names, and `network.forward`
    is still the plain one. Every shape of batch is compiled for itself.

    Raises InputError where there is no working compiler.
    """
    torch.compiler.reset()
    device = next(network.parameters()).device
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(64, device=device))
    except Exception as error:  # which it is depends on the device and on what is missing
        problem = " ".join(str(error).split("\n\n")[0].split())
        raise InputError(
            "svoice.compile",
            f"true, but {problem}",
            "a C++ compiler on a CPU, a C compiler and Triton on a GPU, or false",
        ) from None
    network.compile(dynamic=False)
