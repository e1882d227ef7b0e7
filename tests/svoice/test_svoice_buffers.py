"""Memory that is kept between uses."""

import torch

from svoice.buffers import Buffers, shaped


def test_takes_the_smallest_buffer_that_is_large_enough():
    buffers = Buffers()
    three = [torch.empty(size) for size in (30, 10, 20)]
    buffers.give_back(*three)
    assert buffers.take(15, torch.float32) is three[2]
    assert buffers.take(15, torch.float32) is three[0]
    assert len(buffers.take(15, torch.float32)) == 15


def test_a_new_buffer_replaces_the_largest_one():
    buffers = Buffers()
    buffers.give_back(torch.empty(10), torch.empty(20), torch.empty(40, dtype=torch.float64))
    taken = buffers.take(30, torch.float32)
    assert (len(taken), taken.dtype) == (30, torch.float32)
    assert [len(buffer) for buffer in buffers.spare] == [10, 40]


def test_a_shape_takes_the_first_elements():
    buffer = torch.arange(9)
    assert shaped(buffer, (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    shaped(buffer, (2, 3)).zero_()
    assert buffer.tolist() == [0, 0, 0, 0, 0, 0, 6, 7, 8]
