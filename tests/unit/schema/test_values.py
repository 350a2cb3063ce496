"""What may be logged: the rules of values, steps, times, names and texts."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_schema import (
    BadKey,
    BadStep,
    BadText,
    BadTime,
    BadValue,
    as_step,
    as_time_ms,
    as_value,
    check_key,
    check_text,
)

int64 = st.integers(-(2**63), 2**63 - 1)


class OneElementTensor:
    """Has what a tensor of torch has, as far as values.py asks."""

    def __init__(self, value, element_count=1):
        self.value, self.element_count = value, element_count

    def numel(self):
        return self.element_count

    def item(self):
        return self.value


@given(st.floats(allow_nan=False))
def test_a_float_is_stored_as_it_is(value):
    stored = as_value("loss", value)
    assert stored == value
    assert math.copysign(1, stored) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, 1.0),
        (7, 7.0),
        (2**53 + 1, float(2**53 + 1)),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float16(0.5), 0.5),
        (np.int64(-3), -3.0),
        (np.uint8(255), 255.0),
        (np.bool_(1), 1.0),
        (np.array(2.5), 2.5),
        (np.array([[2.5]]), 2.5),
        (OneElementTensor(3.5), 3.5),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
    ],
)
def test_numbers_and_one_element_arrays_are_values(value, stored):
    result = as_value("loss", value)
    assert type(result) is float
    assert result == stored


def test_nan_is_a_value():
    assert math.isnan(as_value("loss", float("nan")))
    assert math.isnan(as_value("loss", np.float32("nan")))


@pytest.mark.parametrize(
    "value",
    ["0.5", b"1", None, [1.0], {}, object(), 1j, np.complex64(1), Decimal(1), Fraction(1, 2), float, np.float64,
     np.array([1.0, 2.0]), np.array([]), np.array(["a"]), OneElementTensor(1.0, 2), OneElementTensor("x"), 10**400,
     10**5000],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(BadValue, match="'loss'") as refused:
        as_value("loss", value)
    assert isinstance(refused.value, TypeError)


def test_the_message_names_the_type():
    with pytest.raises(BadValue, match=r"value of type str; it must be a number"):
        as_value("loss", "0.5")
    with pytest.raises(BadValue, match=r"numpy\.ndarray of 2 elements"):
        as_value("loss", np.array([1, 2]))


def test_an_item_that_raises_names_the_metric():
    class Broken:
        def item(self):
            raise RuntimeError("device lost")

    with pytest.raises(BadValue, match=r"'loss'.*device lost"):
        as_value("loss", Broken())


@given(int64)
def test_any_int64_is_a_step_and_a_time(number):
    assert as_step(number) == number
    assert as_time_ms(number) == number


@pytest.mark.parametrize(
    "step",
    [2**63, -(2**63) - 1, 10**5000, 1.0, "1", None, True, np.float64(1), [1]],
    ids=lambda step: type(step).__name__,
)
def test_other_steps_are_refused(step):
    with pytest.raises(BadStep):
        as_step(step)


def test_numpy_integers_are_steps():
    assert as_step(np.int32(-5)) == -5
    assert type(as_step(np.int32(-5))) is int


@pytest.mark.parametrize("time_ms", [2**63, 0.5, "1", None, False])
def test_other_times_are_refused(time_ms):
    with pytest.raises(BadTime):
        as_time_ms(time_ms)


def test_a_time_in_seconds_gets_a_hint():
    with pytest.raises(BadTime, match=r"int\(time\.time\(\) \* 1000\)"):
        as_time_ms(1_700_000_000.5)


@pytest.mark.parametrize("key", ["a", "a/b c", '"; DROP TABLE', "💥", "k" * 1000, "ö" * 500, " ", "\n"])
def test_any_text_of_up_to_1000_bytes_is_a_name(key):
    check_key(key)


@pytest.mark.parametrize("key", ["", "a\0b", "k" * 1001, "ö" * 501, "\ud800", None, 3, b"a"])
def test_other_names_are_refused(key):
    with pytest.raises(BadKey, match="metric"):
        check_key(key)


@pytest.mark.parametrize("text", ["", "x" * 2**20, "ö🙂"])
def test_texts_may_be_empty_and_long(text):
    check_text("p", text)


@pytest.mark.parametrize("text", ["x" * (2**20 + 1), "a\0", "\udfff", 3, None])
def test_other_texts_are_refused(text):
    with pytest.raises(BadText, match="param 'p'"):
        check_text("p", text)


def test_a_refused_long_text_says_where_it_belongs_and_is_not_repeated_whole():
    with pytest.raises(BadText, match="log it as an artifact") as refused:
        check_text("p", "x" * (2**20 + 1))
    assert len(str(refused.value)) < 300
