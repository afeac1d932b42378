"""Bit patterns: codes of numbers and back, exact both ways, and the digest of arrays of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.formats.rows import NumberFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NATIVE = {"float64": "<f8", "float32": "<f4", "float16": "<f2"}


def encode(fmt: NumberFormat, x: NDArray[np.float64]) -> NDArray[Any]:
    """Return the codes of `x`, as little-endian uint8, uint16, uint32 or uint64 of its shape.

    Every NaN becomes the one `fmt.nan_code`.

    Raises
    ------
    ValueError
        If an element is not a number of `fmt`; the message names the first.
    """
    import numpy as np

    values = np.asarray(x, dtype=np.float64)
    word = f"<u{fmt.storage_bits // 8}"
    nan = np.isnan(values)
    if fmt.name in _NATIVE:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            native = np.ascontiguousarray(values.astype(_NATIVE[fmt.name])).reshape(values.shape)
        _require(fmt, values, (native.astype(np.float64) == values) | nan)
        native = np.where(nan, np.asarray(np.nan, native.dtype), native)
        codes = native.view(word)
        return np.where(nan, np.asarray(fmt.nan_code, word), codes)
    _require(fmt, values, ~nan if not fmt.nans else np.ones(values.shape, bool))
    _require(fmt, values, np.isfinite(values) | nan | fmt.infinities)
    finite = np.isfinite(values)
    magnitude = np.where(finite, np.abs(values), 0.0)
    _, exponent = np.frexp(magnitude)
    exponent = np.maximum(exponent - 1, fmt.exponent_min)
    significand = np.ldexp(magnitude, fmt.mantissa_bits - exponent)
    hidden = 1 << fmt.mantissa_bits
    negative = np.signbit(values) & ~nan
    exact = (significand == np.rint(significand)) & (magnitude <= float(fmt.max_finite))
    if not fmt.subnormals:
        exact &= significand >= hidden
    if not fmt.signed:
        exact &= ~negative
    if not fmt.negative_zero:
        exact &= ~(negative & (values == 0))
    _require(fmt, values, exact | ~finite)
    field = np.where(significand >= hidden, exponent + fmt.bias, 0).astype(np.int64)
    fraction = np.where(significand >= hidden, significand - hidden, significand).astype(np.int64)
    codes = (field << fmt.mantissa_bits) + fraction
    if fmt.infinity_code is not None:
        codes = np.where(np.isinf(values), fmt.infinity_code, codes)
    codes |= np.where(negative, fmt.sign_mask, 0)
    if fmt.nan_code is not None:
        codes = np.where(nan, fmt.nan_code, codes)
    return codes.astype(word)


def decode(fmt: NumberFormat, bits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the numbers that codes stand for, as float64 of the same shape; −0, inf and NaN kept.

    Raises
    ------
    ValueError
        If a code is wider than the format.
    """
    import numpy as np

    word = f"<u{fmt.storage_bits // 8}"
    codes = np.asarray(bits)
    if codes.dtype.kind != "u" or codes.dtype.itemsize * 8 != fmt.storage_bits:
        raise ValueError(f"codes of {fmt.name} are uint{fmt.storage_bits}, found {codes.dtype}")
    codes = np.ascontiguousarray(codes, word).reshape(codes.shape)
    if fmt.name in _NATIVE:
        with np.errstate(invalid="ignore"):
            native = codes.view(_NATIVE[fmt.name]).astype(np.float64)
            return np.where(np.isnan(native), np.nan, native)  # a signalling NaN would trap later
    if fmt.bits < fmt.storage_bits and (codes >> fmt.bits).any():
        raise ValueError(f"{fmt.name} has {fmt.bits}-bit codes, found {int(codes.max()):#x}")
    wide = codes.astype(np.int64)
    magnitude = wide & ~fmt.sign_mask
    field = magnitude >> fmt.mantissa_bits
    fraction = magnitude & ((1 << fmt.mantissa_bits) - 1)
    normal = (field > 0) | (not fmt.subnormals)
    significand = np.where(normal, fraction + (1 << fmt.mantissa_bits), fraction).astype(np.float64)
    exponent = np.where(normal, field - fmt.bias, fmt.exponent_min)
    values = np.ldexp(significand, exponent - fmt.mantissa_bits)
    if fmt.specials == "ieee":
        values = np.where(magnitude == fmt.infinity_code, np.inf, values)
        values = np.where(magnitude > (fmt.infinity_code or 0), np.nan, values)
    elif fmt.specials == "fn":
        values = np.where(magnitude > fmt.max_code, np.nan, values)
    values = np.where(wide & fmt.sign_mask != 0, -values, values)
    return np.where(wide == fmt.nan_code, np.nan, values) if fmt.nan_code is not None else values


def digest(arrays: Mapping[str, tuple[NumberFormat, NDArray[np.float64]]]) -> str:
    """Return the hexadecimal SHA-256 of named arrays: names, formats, shapes and codes.

    Names are taken in sorted order; codes little-endian, in C order. Every NaN counts as one.
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        fmt, values = arrays[name]
        codes = encode(fmt, values)
        total.update(f"{name}\0{fmt.name}\0{','.join(map(str, codes.shape))}\0{codes.nbytes}\0".encode())
        total.update(codes.tobytes())
    return total.hexdigest()


def _require(fmt: NumberFormat, values: NDArray[np.float64], ok: NDArray[Any]) -> None:
    import numpy as np

    if not ok.all():
        index = tuple(int(i) for i in np.argwhere(~ok)[0])
        raise ValueError(f"{float(values[index])!r} at {index} is not a number of {fmt.name}")
