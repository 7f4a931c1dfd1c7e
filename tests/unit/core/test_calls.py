import pytest

from autotool_core.calls import Call, same_calls

ROME = Call("weather", {"city": "Rome", "days": 2})
OSLO = Call("weather", {"city": "Oslo", "days": 2})


def test_order_of_calls_and_of_arguments_does_not_matter() -> None:
    assert same_calls([ROME, OSLO], [OSLO, Call("weather", {"days": 2, "city": "Rome"})])


def test_the_number_of_equal_calls_counts() -> None:
    assert not same_calls([ROME, ROME], [ROME])
    assert not same_calls([], [ROME])
    assert same_calls([], [])


@pytest.mark.parametrize("other", [Call("climate", ROME.arguments), Call("weather", {"city": "rome", "days": 2})])
def test_names_and_strings_are_compared_exactly(other: Call) -> None:
    assert not same_calls([other], [ROME])


def test_integers_equal_floats_but_not_booleans_or_strings() -> None:
    nested = Call("f", {"x": [{"y": 1.0}]})
    assert same_calls([nested], [Call("f", {"x": [{"y": 1}]})])
    assert not same_calls([Call("f", {"x": True})], [Call("f", {"x": 1})])
    assert not same_calls([Call("f", {"x": "1"})], [Call("f", {"x": 1})])


@pytest.mark.parametrize("text", ["[1]", "{", "3", ""])
def test_arguments_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"object|Expecting"):
        Call.parse("f", text)
