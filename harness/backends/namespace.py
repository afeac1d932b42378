"""The array functions that formulations use: one explicit list, the same on every backend.

A backend gives a table of functions for each group below; `Namespace` makes attributes of them, and
in its checked form asserts after each call that the result has the dtype it should have: array
libraries widen silently (`np.where(mask, x, -np.inf)` is float64 for a bfloat16 `x`), and a formulation
that was widened is not what it says it is. Formulations pass native arrays and `scalar(...)`s only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final

from harness.errors import DtypeError, RegistrationError, did_you_mean
from harness.formats import DTYPES, DType, round_exact
from harness.registry import Lack

Functions = Mapping[str, Callable[..., Any]]

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "elementwise": (
        "add", "subtract", "multiply", "divide", "negative", "abs", "square", "sqrt",
        "exp", "expm1", "log", "log1p", "maximum", "minimum", "where", "sign", "floor",
    ),
    "functions": (
        "exp2", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh",
    ),
    "special": ("erf", "erfc", "erfcx", "erfinv", "ndtri", "lgamma", "digamma"),
    "sum": ("sum", "mean"),
    "matmul": ("matmul",),
    "linalg": ("cholesky", "solve_triangular", "qr", "svd", "solve", "eigh"),
    "logic": (
        "equal", "less", "greater", "logical_and", "logical_or", "logical_not",
        "isfinite", "isinf", "isnan", "any", "all",
    ),
    "order": ("max", "min"),
    "shape": (
        "reshape", "transpose", "concat", "stack", "copy", "take", "detach", "broadcast_to", "place",
        "arrange",
    ),
    "constant": ("zeros", "full", "eye", "zeros_like"),
    "widening": ("astype",),
}  # fmt: skip
"""Every function, by group. Those of `PRIMITIVE_GROUPS` are computed in what the backend declares."""

_GROUP_OF: Final = {name: group for group, names in GROUPS.items() for name in names}


class Namespace:
    """Array functions for one dtype; what each takes is in `docs` of the backend's own library.

    Beside the functions: `dtype`, `scalar(x)` (an exact number rounded once to the dtype, as a native
    0-d value), `finfo` (`max`, `min_normal`, `min_subnormal`, `unit_roundoff` as native scalars),
    `cast_namespace(name)` (the namespace of another dtype, to compute in after `astype`).

    Parameters
    ----------
    backend
        Its name, for messages.
    dtype
        What every arithmetic result must have.
    declared
        Primitive group → compute dtype, or why there is none.
    load
        Group → its functions; called when a function of the group is first used.
    format_of
        Native array → name of its format, or of its other dtype (`bool`).
    native_scalar
        A float that the dtype holds exactly → native scalar.
    cast
        Name of a dtype → its namespace, checked like this one.
    """

    def __init__(
        self,
        backend: str,
        dtype: DType,
        *,
        checked: bool,
        declared: Mapping[str, str | Lack],
        load: Callable[[str], Functions],
        format_of: Callable[[Any], str],
        native_scalar: Callable[[float], Any],
        cast: Callable[[str], Namespace],
    ) -> None:
        self.dtype = dtype
        self.checked = checked
        self.cast_namespace = cast
        self._backend = backend
        self._declared = declared
        self._load = load
        self._format_of = format_of
        self._native_scalar = native_scalar

    def __getattr__(self, name: str) -> Any:
        """Load the group of a function that is used for the first time."""
        group = _GROUP_OF.get(name)
        if group is None:
            raise AttributeError(
                f"formulations have no function {name!r}; {did_you_mean(name, list(_GROUP_OF))}"
            )
        lack = self._declared.get(group)
        if isinstance(lack, Lack):
            raise AttributeError(f"{self._backend} has no {group} in {self.dtype.name}: {lack.reason}")
        functions = self._load(group)
        if set(functions) != set(GROUPS[group]):
            differ = sorted(set(functions) ^ set(GROUPS[group]))
            raise RegistrationError(
                f"the {group} functions of {self._backend} differ from the list by {differ}"
            )
        for key, function in functions.items():
            setattr(self, key, self._checked(key, group, function) if self.checked else function)
        return vars(self)[name]

    def scalar(self, x: Any) -> Any:
        """Return an exact number as a native 0-d value, rounded once to the dtype, to nearest even.

        It may be an int, a Decimal, a Fraction, a float, or text such as "-inf".
        """
        exact = Decimal(x) if isinstance(x, str) else x
        return self._native_scalar(float(round_exact(self.dtype.storage, exact)))

    @property
    def finfo(self) -> SimpleNamespace:
        """The limits of the storage format, as native scalars."""
        names = ("max", "min_normal", "min_subnormal", "unit_roundoff")
        fmt = self.dtype.storage
        limits = (fmt.max_finite, fmt.min_normal, fmt.min_subnormal, fmt.unit_roundoff)
        return SimpleNamespace(**{n: self.scalar(v) for n, v in zip(names, limits, strict=True)})

    def _checked(self, name: str, group: str, function: Callable[..., Any]) -> Callable[..., Any]:
        format_of, declared = self._format_of, "bool" if group == "logic" else self.dtype.storage.name

        def require(result: Any, expected: str) -> Any:
            for item in result if isinstance(result, tuple) else (result,):
                found = format_of(item)
                if found != expected:
                    raise DtypeError(
                        f"{name} of {self._backend} gave {found}, declared is {expected}; "
                        "pass arrays and scalars of the declared dtype, and widen with astype only"
                    )
            return result

        def call(*args: Any, **options: Any) -> Any:
            return require(function(*args, **options), declared)

        def call_astype(x: Any, dtype: str) -> Any:
            return require(function(x, dtype), DTYPES[dtype].storage.name)

        def call_shape(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            return result if format_of(result) == "bool" else require(result, declared)

        return {"widening": call_astype, "shape": call_shape}.get(group, call)
