import numpy as np
import pytest

from harness.backends.alignment import aligned_copy


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 5), (2, 0, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint64])
def test_a_copy_begins_at_a_cache_line_and_holds_the_same(shape, dtype):
    original = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    original.flags.writeable = False
    for _ in range(5):  # malloc gives other addresses
        copy = aligned_copy(original)
        assert copy.size == 0 or copy.ctypes.data % 64 == 0
        assert copy.shape == shape
        assert copy.dtype == dtype
        assert copy.flags.writeable
        assert copy.flags.c_contiguous
        assert np.array_equal(copy, original)


def test_a_strided_view_becomes_contiguous():
    view = np.arange(24, dtype=np.uint32).reshape(4, 6)[::2, ::-1].T
    copy = aligned_copy(view)
    assert copy.flags.c_contiguous
    assert np.array_equal(copy, view)
