"""Memory that is kept between uses.

Memory that was returned to the system comes back page by page, which in a virtual machine can cost
as much as the computation on it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor


class Buffers:
    """Flat tensors on the CPU that any thread may take and give back.

    Attributes:
        spare: the tensors that nobody uses, from the smallest to the largest.
    """

    def __init__(self) -> None:
        self.spare: list[Tensor] = []
        self._lock = threading.Lock()

    def take(self, size: int, dtype: torch.dtype) -> Tensor:
        """Returns the smallest spare tensor that is large enough, or a new one.

        Args:
            size: the number of elements that are needed.
            dtype: the type of the elements.

        Returns:
            A flat tensor of at least `size` elements with arbitrary values.
        """
        with self._lock:
            candidates = [buffer for buffer in self.spare if buffer.dtype == dtype]
            for buffer in candidates:
                if len(buffer) >= size:
                    self._remove(buffer)
                    return buffer
            if candidates:
                # The new tensor replaces the largest spare one, so that there are never more
                # tensors than were in use at once.
                self._remove(candidates[-1])
        return torch.empty(size, dtype=dtype)

    def give_back(self, *buffers: Tensor) -> None:
        """Makes tensors available to the next `take`."""
        with self._lock:
            self.spare = sorted([*self.spare, *buffers], key=len)

    def _remove(self, buffer: Tensor) -> None:
        self.spare = [other for other in self.spare if other is not buffer]


def shaped(buffer: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns a view of the first elements of a flat tensor.

    Args:
        buffer: the tensor, of at least as many elements as the shape has.
        shape: the shape of the view.
    """
    return buffer[: math.prod(shape)].view(shape)
