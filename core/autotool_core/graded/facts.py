"""The derivation of a task's arguments as facts, in order: each says where a value comes from, and writes it as a sentence."""

from dataclasses import dataclass

from autotool_core.graded.domains import DAY, WEEKDAYS


@dataclass(frozen=True, slots=True)
class Given:
    """A value that the request names."""

    argument: str
    value: str
    """The value with its unit, if it has one."""

    def sentence(self) -> str:
        """Return the fact as the gold reasoning has it."""
        return f"{self.argument}: the request says {self.value}."


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A value that stands in a table or list of the request."""

    argument: str
    table: str
    """`table` (of amounts) or `list` (of things)."""
    rows: tuple[tuple[str, str], ...]
    """Names and values, in the request's order."""
    name: str
    unit: str = ""
    """The plural of the unit of an amount."""

    @property
    def result(self) -> str:
        """The value beside the name."""
        return dict(self.rows)[self.name]

    def sentence(self) -> str:
        """Return the fact as the gold reasoning has it."""
        rows = ", ".join(f"{name} {value}" for name, value in self.rows)
        has = f"{self.name} has {self.result}" + (f" {self.unit}" if self.unit else "")
        return f"{self.argument}: the {self.table} gives {rows}, so {has}."


@dataclass(frozen=True, slots=True)
class Sum:
    """A number to which another one is added, or from which it is taken."""

    left: int
    change: int
    unit: str
    """The unit of the result, singular if it is 1."""

    @property
    def result(self) -> int:
        """The sum."""
        return self.left + self.change

    def sentence(self) -> str:
        """Return the fact as the gold reasoning has it."""
        return f"{self.left} {'+' if self.change > 0 else '-'} {abs(self.change)} = {self.result} {self.unit}."


@dataclass(frozen=True, slots=True)
class Product:
    """An amount of a larger unit in the smaller one that the argument has."""

    left: int
    large: str
    """The larger unit, singular if `left` is 1."""
    factor: int
    small: str
    """The plural of the smaller unit."""

    @property
    def result(self) -> int:
        """The amount in the smaller unit."""
        return self.left * self.factor

    def sentence(self) -> str:
        """Return the fact as the gold reasoning has it."""
        return f"{self.left} {self.large} x {self.factor} = {self.result} {self.small}."


@dataclass(frozen=True, slots=True)
class Shift:
    """A day some days after another one."""

    start: str
    days: int

    @property
    def passed(self) -> tuple[str, ...]:
        """The days up to the one that is meant, which is the last."""
        first = WEEKDAYS.index(self.start)
        return tuple(WEEKDAYS[(first + step) % 7] for step in range(1, self.days + 1))

    @property
    def result(self) -> str:
        """The day that is meant."""
        return self.passed[-1]

    def sentence(self) -> str:
        """Return the fact as the gold reasoning has it."""
        days = ", ".join(f"{number} {day}" for number, day in enumerate(self.passed, 1))
        return f"{DAY}: {self.days} days after {self.start}: {days}."


Fact = Given | LookedUp | Sum | Product | Shift
