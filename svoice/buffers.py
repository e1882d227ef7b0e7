"""Memory kept between uses.

Memory that goes back to the system comes again page by page, which in a virtual machine can cost
as much as the computation on it.
"""

import math
import threading

import torch


class Buffers:
    """Flat tensors on the CPU that are taken and given back, by any thread."""

    def __init__(self):
        self.spare = []  # from the smallest to the largest
        self.lock = threading.Lock()

    def take(self, size, dtype):
        """A flat tensor of at least so many elements, the smallest that there is."""
        with self.lock:
            fitting = [buffer for buffer in self.spare if buffer.dtype == dtype]
            for buffer in fitting:
                if len(buffer) >= size:
                    self.remove(buffer)
                    return buffer
            if fitting:
                # The new one replaces it, so that there are never more than were in use at once.
                self.remove(fitting[-1])
        return torch.empty(size, dtype=dtype)

    def give_back(self, *buffers):
        with self.lock:
            self.spare = sorted([*self.spare, *buffers], key=len)

    def remove(self, buffer):
        self.spare = [other for other in self.spare if other is not buffer]


def shaped(buffer, shape):
    """The beginning of a flat tensor, in a shape."""
    return buffer[: math.prod(shape)].view(shape)
