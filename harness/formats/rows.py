"""Number formats and dtypes: one frozen row each, from which everything else is derived.

A format is added by one row in `FORMATS`; rounding, bit patterns, units and their tests follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from harness.errors import RegistrationError, did_you_mean

Specials = Literal["ieee", "fn", "fnuz", "none"]
"""Which codes are not finite numbers (the suffixes are those of ml_dtypes).

ieee: the top exponent holds ±inf and NaNs. fn: no infinity, all ones is NaN. fnuz: no infinity and no
−0, whose code is the only NaN. none: every code is a finite number.
"""


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A binary floating-point format: what it can hold, how codes mean it, what overflow gives.

    A code is sign, exponent field, significand without its leading bit, from the top down.
    """

    name: str
    bits: int  # width of a code
    precision: int  # p, bits of the significand, the implicit leading one included
    exponent_min: int  # exponent e of the smallest normal number 2^e
    specials: Specials = "ieee"  # which codes are not finite numbers
    signed: bool = True  # False: no sign bit, and no negative number
    subnormals: bool = True  # False: exponent field 0 is one more binade, without subnormals or zero

    def __post_init__(self) -> None:
        """Refuse a row that describes no format.

        Raises
        ------
        RegistrationError
            Unknown `specials`, or no bit left for the exponent.
        """
        if self.specials not in get_args(Specials):
            hint = did_you_mean(self.specials, get_args(Specials))
            raise RegistrationError(f"format {self.name!r} has specials {self.specials!r}; {hint}")
        if self.precision < 1 or self.exponent_bits < 1:
            raise RegistrationError(
                f"format {self.name!r}: {self.bits} bits with precision {self.precision} leave "
                f"{self.exponent_bits} bits for the exponent"
            )

    @property
    def storage_bits(self) -> int:
        """Width of the unsigned word that holds a code in an array: 8, 16, 32 or 64."""
        return max(8, 1 << (self.bits - 1).bit_length())

    @property
    def mantissa_bits(self) -> int:
        """Bits of the significand that a code spells out: p − 1."""
        return self.precision - 1

    @property
    def exponent_bits(self) -> int:
        """Bits of the exponent field."""
        return self.bits - self.mantissa_bits - int(self.signed)

    @property
    def bias(self) -> int:
        """What the exponent field of a normal number exceeds its exponent by."""
        return int(self.subnormals) - self.exponent_min

    @property
    def sign_mask(self) -> int:
        """The sign's bit in a code; 0 without a sign."""
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def max_code(self) -> int:
        """The code of the largest finite number."""
        top = (1 << (self.bits - int(self.signed))) - 1
        if self.specials == "ieee":
            return top - (1 << self.mantissa_bits)
        return top - 1 if self.specials == "fn" else top

    @property
    def infinity_code(self) -> int | None:
        """The code of +inf, or None."""
        return self.max_code + 1 if self.specials == "ieee" else None

    @property
    def nan_code(self) -> int | None:
        """The code that NaN is encoded as (quiet, positive), or None."""
        if self.specials == "ieee":
            return self.max_code + 1 + (1 << (self.mantissa_bits - 1))
        if self.specials == "fnuz":
            return self.sign_mask
        return self.max_code + 1 if self.specials == "fn" else None

    @property
    def exponent_max(self) -> int:
        """Exponent of the largest finite number."""
        return (self.max_code >> self.mantissa_bits) - self.bias

    @property
    def overflow(self) -> Literal["inf", "nan", "max"]:
        """What a number too large rounds to: ±inf, NaN, or the largest finite number."""
        return "inf" if self.infinities else "nan" if self.nans else "max"

    @property
    def infinities(self) -> bool:
        """Whether the format has ±inf."""
        return self.specials == "ieee"

    @property
    def nans(self) -> bool:
        """Whether the format has NaN."""
        return self.specials != "none"

    @property
    def zero(self) -> bool:
        """Whether the format has 0."""
        return self.subnormals

    @property
    def negative_zero(self) -> bool:
        """Whether the format has −0."""
        return self.zero and self.signed and self.specials != "fnuz"

    @property
    def unit_roundoff(self) -> Fraction:
        """The largest relative error of one rounding to nearest in the normal range, u = 2^−p."""
        return Fraction(1, 1 << self.precision)

    @property
    def max_significand(self) -> int:
        """The significand of the largest finite number, as an integer of p bits."""
        hidden = 1 << self.mantissa_bits
        return hidden + (self.max_code & (hidden - 1))

    @property
    def max_finite(self) -> Fraction:
        """The largest finite number, Ω."""
        return self.max_significand * power_of_two(self.exponent_max - self.mantissa_bits)

    @property
    def min_normal(self) -> Fraction:
        """The smallest positive number with p significant bits."""
        return power_of_two(self.exponent_min)

    @property
    def min_subnormal(self) -> Fraction:
        """The smallest positive number, ω."""
        return power_of_two(self.exponent_min - self.mantissa_bits * int(self.subnormals))

    @property
    def overflow_threshold(self) -> Fraction:
        """Ω + ulp(Ω)/2: numbers of greater magnitude overflow, and itself if `overflow_at_tie`."""
        return self.max_finite + power_of_two(self.exponent_max - self.precision)

    @property
    def overflow_at_tie(self) -> bool:
        """Whether the threshold itself, half-way to the next number, overflows: Ω's last bit is odd."""
        return bool(self.max_code & 1) if self.mantissa_bits else True


def power_of_two(exponent: int) -> Fraction:
    """Return 2^exponent exactly."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


_ROWS = (
    NumberFormat("float64", 64, 53, -1022),
    NumberFormat("float32", 32, 24, -126),
    NumberFormat("bfloat16", 16, 8, -126),
    NumberFormat("float16", 16, 11, -14),
    NumberFormat("float8_e3m4", 8, 5, -2),
    NumberFormat("float8_e4m3", 8, 4, -6),
    NumberFormat("float8_e4m3b11fnuz", 8, 4, -10, "fnuz"),
    NumberFormat("float8_e4m3fn", 8, 4, -6, "fn"),
    NumberFormat("float8_e4m3fnuz", 8, 4, -7, "fnuz"),
    NumberFormat("float8_e5m2", 8, 3, -14),
    NumberFormat("float8_e5m2fnuz", 8, 3, -15, "fnuz"),
    NumberFormat("float8_e8m0fnu", 8, 1, -127, "fn", signed=False, subnormals=False),
    NumberFormat("float6_e2m3fn", 6, 4, 0, "none"),
    NumberFormat("float6_e3m2fn", 6, 3, -2, "none"),
    NumberFormat("float4_e2m1fn", 4, 2, 0, "none"),
)

FORMATS: dict[str, NumberFormat] = {row.name: row for row in _ROWS}
"""Every storage format by name: those of IEEE 754 and of ml_dtypes."""


@dataclass(frozen=True, slots=True)
class DType:
    """A storage format and how products are computed from it."""

    name: str
    storage: NumberFormat  # what arrays hold, and what ulps are counted in
    compute: NumberFormat  # what the inputs of products are rounded to

    @property
    def u_in(self) -> Fraction:
        """Unit roundoff of the inputs of products."""
        return self.compute.unit_roundoff


_TENSOR_FLOAT = NumberFormat("tf32", 19, 11, -126)

DTYPES: dict[str, DType] = (
    {name: DType(name, row, row) for name, row in FORMATS.items()}
    | {"tf32": DType("tf32", FORMATS["float32"], _TENSOR_FLOAT)}
    | {
        mode: DType(mode, FORMATS[name], FORMATS[name])
        for mode, name in (
            ("float16_reduced", "float16"),
            ("bfloat16_reduced", "bfloat16"),
            ("float16_accumulate", "float16"),
        )
    }
)
"""Every dtype by name: one a format, and modes in which products of a format are computed otherwise.

tf32: float32 whose products take 11-bit inputs. float16_reduced, bfloat16_reduced: partial sums of a
product may be rounded to the format before they are added up (split-K reductions). float16_accumulate:
products may accumulate in float16 throughout.
"""


@dataclass(frozen=True, slots=True)
class Precision:
    """The unit roundoffs that an error bound needs, each exact in a float."""

    u_in: float  # of the inputs of products
    u_acc: float  # of accumulation
    u_out: float  # of the result
    format: NumberFormat  # of the result

    @classmethod
    def of(cls, dtype: DType, compute_dtype: str) -> Precision:
        """Return the precision of a cell of `dtype` that accumulates in `compute_dtype`."""
        accumulated = DTYPES[compute_dtype].storage
        return cls(
            u_in=float(dtype.u_in),
            u_acc=float(accumulated.unit_roundoff),
            u_out=float(dtype.storage.unit_roundoff),
            format=dtype.storage,
        )
