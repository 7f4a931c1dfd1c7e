import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotool_server.tools.base import ToolError
from autotool_server.tools.builtin.calculator import CalculatorTool, calculate

ATTACKS = [
    "9**9**9",
    "2**(10**9)",
    "(2**9999)**9999",
    "factorial(10**9)",
    "factorial(factorial(900))",
    "round(5, -(10**9))",
    "*".join(["factorial(1000)"] * 60),
    "(" * 500 + "1" + ")" * 499,
    "-" * 999 + "1",
    "1+" * 5_000_000 + "1",
    "1e999",
    "1e308 * 10",
    "__import__('os').system('true')",
    "().__class__",
    "(lambda: 1)()",
    "[1 for x in (1, 2)]",
    "'a' * 10**9",
    "open('x')",
    "abs(x=1)",
    "min(*range(9))",
    "True + 1",
    "1j",
    "1 if 1 else 2",
    "a := 1",
    "\0",
    "",
]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3 * 4", 14),
        ("-(7 // 2) + +7 % 4", 0),
        ("2 ** -1", 0.5),
        ("2 ** 0.5", math.sqrt(2)),
        ("(-1) ** 1000001", -1),
        ("1 / 4", 0.25),
        ("sqrt(16) + log(e) + sin(pi / 2)", 6.0),
        ("min(3, 1, 2) + max(3, 1, 2) + abs(-5)", 9),
        ("round(2.567, 2) + round(2.4)", 4.57),
        ("factorial(20) - gcd(12, 18)", math.factorial(20) - 6),
        (" 7 ", 7),
        ("2 ** 9000 - 2 ** 9000 + 1", 1),
        ("1" + "+1" * 400, 401),
    ],
)
def test_arithmetic(expression: str, value: float) -> None:
    assert calculate(expression) == pytest.approx(value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("expression", ATTACKS, ids=lambda text: text[:24])
def test_attacks_are_rejected(expression: str) -> None:
    with pytest.raises(ToolError) as error:
        calculate(expression)
    assert len(str(error.value)) < 120


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "This divides by zero."),
        ("2 ^ 3", "The operator ^ is not supported. Write ** for a power."),
        ("sqrt(-1)", "A function or operator is not defined for these numbers."),
        ("sqrt()", "A function or operator is not defined for these numbers."),
        ("(-8) ** 0.5", "The result is no real number, or too large a one."),
        ("x + 1", "A name in the expression is not known. Use only the constants and functions of the description."),
        ("2 +", "This is no arithmetic expression."),
    ],
)
def test_errors_name_the_fault(expression: str, message: str) -> None:
    with pytest.raises(ToolError) as error:
        calculate(expression)
    assert str(error.value) == message


@pytest.mark.timeout(60)
@given(st.text("0123456789.+-*/%(), efactorilpow", max_size=60))
def test_any_text_gives_a_value_or_a_tool_error(expression: str) -> None:
    with contextlib.suppress(ToolError):
        assert isinstance(calculate(expression), int | float)


async def test_the_tool_answers_in_text() -> None:
    tool = CalculatorTool()
    assert await tool.call({"expression": "3 * 7"}) == "21"
    assert len(await tool.call({"expression": "2 ** 9999"})) == 3010
    assert tool.spec.name == "calculator"
    assert tool.spec.policy.read_only
