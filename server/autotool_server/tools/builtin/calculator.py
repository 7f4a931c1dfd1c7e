"""The built-in tool `calculator`: it evaluates arithmetic on the syntax tree and never calls `eval`."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from autotool_server.tools.base import Policy, ToolError, ToolSpec

POLICY = Policy(read_only=True, idempotent=True, max_failures=0)
MAX_LENGTH = 1000
"""The length limit of an expression, in characters."""
MAX_BITS = 10_000
"""The size limit of a whole number, about 3000 digits, so that none takes long to compute or to print."""

Number = int | float


def _power(base: Number, exponent: Number) -> Number:
    # Checked before the computation, which could take for ever.
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and base.bit_length() * exponent > 2 * MAX_BITS:
        raise ToolError("The power is too large.")
    return base**exponent


def _factorial(number: Number) -> int:
    if number > 1000:
        raise ToolError("factorial takes numbers up to 1000.")
    return math.factorial(_to_int(number))


def _round(number: Number, digits: Number = 0) -> Number:
    if abs(digits) > 100:
        raise ToolError("round takes up to 100 digits.")
    return round(number, _to_int(digits)) if digits else round(number)


def _to_int(number: Number) -> int:
    if int(number) != number:
        raise ToolError("This needs a whole number.")
    return int(number)


BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
        ast.Pow: _power,
    }
)
UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = MappingProxyType({ast.UAdd: operator.pos, ast.USub: operator.neg})
CONSTANTS: Mapping[str, float] = MappingProxyType({"pi": math.pi, "e": math.e, "tau": math.tau})
# Functions of `math`, each of which is fast for numbers of MAX_BITS.
_MATH = (
    *("sqrt", "cbrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh"),
    *("tanh", "hypot", "degrees", "radians", "floor", "ceil", "trunc", "gcd", "lcm"),
)
FUNCTIONS: Mapping[str, Callable[..., Number]] = MappingProxyType(
    {name: getattr(math, name) for name in _MATH}
    | {"abs": abs, "min": min, "max": max, "round": _round, "factorial": _factorial, "pow": _power}
)

DESCRIPTION = (
    "Compute an arithmetic expression exactly. Operators: + - * / // % ** and parentheses. "
    f"Constants: {', '.join(CONSTANTS)}. Functions: {', '.join(sorted(FUNCTIONS))}; angles are in radians."
)
PARAMETERS = {
    "type": "object",
    "properties": {
        "expression": {
            "type": "string",
            "description": "Such as (3 + 4) * sqrt(2).",
            "minLength": 1,
            "maxLength": MAX_LENGTH,
        }
    },
    "required": ["expression"],
    "additionalProperties": False,
}


class CalculatorTool:
    """Computes an arithmetic expression."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.spec = ToolSpec("calculator", DESCRIPTION, PARAMETERS, policy, source="builtin")

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the value as text. Raises ToolError, which names the fault in the expression."""
        return str(calculate(arguments["expression"]))


def calculate(expression: str) -> Number:
    """Return the value of an expression, in bounded time. Raises ToolError."""
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"The expression is longer than {MAX_LENGTH} characters.")
    try:
        return _evaluate(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise ToolError("This is no arithmetic expression.") from error
    except (MemoryError, RecursionError) as error:
        raise ToolError("The expression is nested too deeply.") from error


def _evaluate(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _checked(number)
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.UnaryOp() if type(node.op) in UNARY:
            return UNARY[type(node.op)](_evaluate(node.operand))
        case ast.BinOp() if type(node.op) in BINARY:
            operands = _evaluate(node.left), _evaluate(node.right)
            return _apply(BINARY[type(node.op)], operands)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            return _apply(FUNCTIONS[name], [_evaluate(argument) for argument in node.args])
    raise ToolError(_not_supported(node))


def _not_supported(node: ast.expr) -> str:
    match node:
        case ast.BinOp(op=ast.BitXor()):
            return "The operator ^ is not supported. Write ** for a power."
        case ast.Name() | ast.Call(func=ast.Name()):
            return "A name in the expression is not known. Use only the constants and functions of the description."
    return "Only numbers, + - * / // % **, parentheses and the functions of the description are supported."


def _apply(function: Callable[..., Any], operands: list[Number] | tuple[Number, ...]) -> Number:
    try:
        return _checked(function(*operands))
    except ZeroDivisionError as error:
        raise ToolError("This divides by zero.") from error
    except OverflowError as error:
        raise ToolError("A number is too large.") from error
    except (ValueError, TypeError) as error:
        raise ToolError("A function or operator is not defined for these numbers.") from error


def _checked(number: Any) -> Number:
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        raise ToolError("A number is too large.")
    if isinstance(number, complex) or (isinstance(number, float) and not math.isfinite(number)):
        raise ToolError("The result is no real number, or too large a one.")
    return number
