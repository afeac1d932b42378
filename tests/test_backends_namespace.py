from decimal import Decimal
from fractions import Fraction

import pytest

from harness.backends.namespace import GROUPS, Namespace
from harness.errors import DtypeError, RegistrationError
from harness.formats import DTYPES
from harness.registry import PRIMITIVE_GROUPS, Lack


class Tagged:
    """An array of which only the name of its dtype is known."""

    def __init__(self, dtype):
        self.dtype = dtype


def same(*arguments, **options):
    return arguments[0]


def namespace(checked=True, loaded=None, declared=None, functions=None):
    loaded = [] if loaded is None else loaded

    def load(group):
        loaded.append(group)
        return functions or dict.fromkeys(GROUPS[group], same)

    return Namespace(
        "fake",
        DTYPES["float16"],
        checked=checked,
        declared=declared or dict.fromkeys(PRIMITIVE_GROUPS, "float16"),
        load=load,
        format_of=lambda x: x.dtype,
        native_scalar=lambda x: ("native", x),
        cast=lambda name: name,
    )


def test_the_list_names_every_group_once_and_the_groups_a_backend_declares():
    names = [name for group in GROUPS.values() for name in group]
    assert len(names) == len(set(names))
    assert set(PRIMITIVE_GROUPS) <= set(GROUPS)


def test_a_group_is_loaded_when_one_of_its_functions_is_first_used():
    loaded = []
    xp = namespace(loaded=loaded)
    assert loaded == []
    x = Tagged("float16")
    assert xp.exp(x) is x
    assert xp.add(x, x) is x
    assert loaded == ["elementwise"]


def test_a_widened_result_is_refused_by_name():
    with pytest.raises(DtypeError, match=r"multiply of fake gave float64, declared is float16"):
        namespace().multiply(Tagged("float64"), Tagged("float16"))


def test_every_part_of_a_result_is_looked_at():
    parts = (Tagged("float16"), Tagged("float32"))
    xp = namespace(functions={name: lambda x: parts for name in GROUPS["linalg"]})
    with pytest.raises(DtypeError, match="qr of fake gave float32"):
        xp.qr(Tagged("float16"))


def test_comparisons_are_declared_boolean():
    boolean, number = Tagged("bool"), Tagged("float16")
    xp = namespace()
    assert xp.less(boolean, boolean) is boolean
    with pytest.raises(DtypeError, match="less of fake gave float16, declared is bool"):
        xp.less(number, number)
    assert xp.reshape(boolean, (1,)) is boolean
    with pytest.raises(DtypeError):
        xp.exp(boolean)


def test_astype_must_give_the_dtype_that_was_asked_for():
    xp = namespace()
    wide = Tagged("float32")
    assert xp.astype(wide, "float32") is wide
    assert xp.astype(wide, "tf32") is wide, "tf32 is stored as float32"
    with pytest.raises(DtypeError, match="astype of fake gave float32, declared is float16"):
        xp.astype(wide, "float16")


def test_unchecked_functions_are_the_librarys_own():
    assert namespace(checked=False).exp is same


def test_what_a_backend_lacks_is_told_with_its_reason():
    declared = {**dict.fromkeys(PRIMITIVE_GROUPS, "float16"), "linalg": Lack("unsupported", "no LAPACK here")}
    xp = namespace(declared=declared)
    with pytest.raises(AttributeError, match="fake has no linalg in float16: no LAPACK here"):
        _ = xp.svd


def test_an_unknown_function_gets_a_suggestion():
    with pytest.raises(AttributeError, match="no function 'maximun'; did you mean 'maximum'"):
        _ = namespace().maximun


def test_a_backend_that_does_not_keep_to_the_list_is_refused():
    xp = namespace(functions={"sum": same, "total": same})
    with pytest.raises(RegistrationError, match=r"\['mean', 'total'\]"):
        _ = xp.sum


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [
        (Decimal("0.1"), 0.0999755859375),  # float16: 1638·2⁻¹⁴
        (Fraction(1, 3), 0.333251953125),
        (1 + Fraction(1, 2**11) + Fraction(1, 2**60), 1 + 2.0**-10),  # by way of float64 it would be 1
        (70000, float("inf")),
        ("-inf", float("-inf")),
        (0.5, 0.5),
    ],
)
def test_scalars_are_rounded_once(exact, rounded):
    assert namespace().scalar(exact) == ("native", rounded)


def test_limits_are_those_of_the_format():
    finfo = namespace().finfo
    assert finfo.max == ("native", 65504.0)
    assert finfo.min_normal == ("native", 2.0**-14)
    assert finfo.min_subnormal == ("native", 2.0**-24)
    assert finfo.unit_roundoff == ("native", 2.0**-11)
