"""The domains of the tasks: each has one tool, whose arguments are a thing, an amount and a day."""

from dataclasses import dataclass
from typing import Any

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAMES: tuple[str, ...] = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Kira", "Leo")
DAY = "day"


@dataclass(frozen=True, slots=True)
class Domain:
    """A tool and the wordings of its requests."""

    tool: str
    description: str
    """The tool's description."""
    thing: str
    """The name of the string argument, which is also its noun in requests."""
    things: tuple[str, ...]
    named: str
    """The wording of a thing in a request: a pattern of `{value}`."""
    amount: str
    """The name of the integer argument: the plural of its unit."""
    large: tuple[str, str]
    """The singular and plural of a larger unit."""
    factor: int
    """The number of units of the argument in one larger unit."""
    requests: dict[str, tuple[str, ...]]
    """The requests of each split: patterns of `{thing}`, `{amount}` and `{day}` that begin with a verb."""

    def schema(self) -> dict[str, Any]:
        """Return the tool as an OpenAI `function` tool."""
        properties = {
            self.thing: {"type": "string"},
            self.amount: {"type": "integer"},
            DAY: {"type": "string", "enum": list(WEEKDAYS)},
        }
        parameters = {"type": "object", "properties": properties, "required": list(properties)}
        return {"type": "function", "function": {"name": self.tool, "description": self.description, "parameters": parameters}}


COLOURS = ("blue", "green", "red", "white", "yellow", "black", "grey", "brown")
DRINKS = ("milk", "tea", "coffee", "juice", "lemonade", "water", "cider", "cocoa")

DOMAINS = (
    Domain(
        "reserve_room",
        "Reserve a meeting room for a number of minutes.",
        "room",
        COLOURS,
        "the {value} room",
        "minutes",
        ("hour", "hours"),
        60,
        {
            "train": (
                "reserve {thing} for {amount} on {day}",
                "book {thing} on {day} for {amount}",
                "keep {thing} free for {amount} on {day}",
                "reserve, for {amount} on {day}, {thing}",
            ),
            "dev": ("reserve, on {day}, {thing} for {amount}", "keep {thing} for {amount} on {day}"),
            "test": ("book {thing}, for {amount}, on {day}", "hold {thing} on {day}, for {amount}"),
        },
    ),
    Domain(
        "order_fruit",
        "Order a number of pieces of a fruit.",
        "fruit",
        ("apples", "pears", "lemons", "oranges", "plums", "peaches", "limes", "figs"),
        "{value}",
        "pieces",
        ("dozen", "dozens"),
        12,
        {
            "train": (
                "order {thing} for {day}, namely {amount}",
                "order {amount} of {thing} for {day}",
                "buy, for {day}, {amount} of {thing}",
                "get {amount} of {thing} on {day}",
            ),
            "dev": ("get, for {day}, {amount} of {thing}", "order {thing} on {day}, {amount} of them"),
            "test": ("order, on {day}, {amount} of {thing}", "buy {thing} on {day}, and take {amount}"),
        },
    ),
    Domain(
        "rent_vehicle",
        "Rent a vehicle for a number of days.",
        "vehicle",
        ("van", "bus", "truck", "bicycle", "scooter", "trailer", "tractor", "jeep"),
        "the {value}",
        "days",
        ("week", "weeks"),
        7,
        {
            "train": (
                "rent {thing} for {amount} from {day}",
                "rent {thing} from {day} on, for {amount}",
                "hire {thing} for {amount}, to begin on {day}",
                "get {thing} on {day} and keep it for {amount}",
            ),
            "dev": ("get {thing} from {day} for {amount}", "hire, from {day} on, {thing} for {amount}"),
            "test": ("hire {thing} from {day} for {amount}", "rent {thing}, beginning on {day}, for {amount}"),
        },
    ),
    Domain(
        "cut_cable",
        "Cut a cable to a length in centimetres.",
        "cable",
        COLOURS,
        "the {value} cable",
        "centimetres",
        ("metre", "metres"),
        100,
        {
            "train": (
                "cut {thing} to {amount} on {day}",
                "cut, on {day}, {amount} of {thing}",
                "cut {amount} of {thing} for {day}",
                "have {thing} cut to {amount} by {day}",
            ),
            "dev": ("have {thing} cut, on {day}, to {amount}", "cut {thing} for {day}, {amount} of it"),
            "test": ("cut {thing} by {day}, to {amount}", "have {amount} of {thing} cut for {day}"),
        },
    ),
    Domain(
        "send_parcel",
        "Send a parcel of a weight in grams.",
        "goods",
        ("books", "shoes", "toys", "tools", "plates", "candles", "coats", "lamps"),
        "{value}",
        "grams",
        ("kilogram", "kilograms"),
        1000,
        {
            "train": (
                "send {amount} of {thing} on {day}",
                "send, on {day}, a parcel of {thing}, {amount} in all",
                "ship {amount} of {thing} on {day}",
                "pack {thing}, {amount} in all, and send it on {day}",
            ),
            "dev": ("pack {amount} of {thing} and ship it on {day}", "send {thing}, {amount} in all, by {day}"),
            "test": ("ship {thing} on {day}, {amount} in all", "pack and send {amount} of {thing} on {day}"),
        },
    ),
    Domain(
        "fill_tank",
        "Fill a tank with a number of millilitres of a drink.",
        "drink",
        DRINKS,
        "{value}",
        "millilitres",
        ("litre", "litres"),
        1000,
        {
            "train": (
                "fill in {amount} of {thing} on {day}",
                "fill the tank on {day} with {amount} of {thing}",
                "put {amount} of {thing} into the tank on {day}",
                "have {amount} of {thing} in the tank by {day}",
            ),
            "dev": (
                "put {thing} into the tank on {day}, {amount} of it",
                "have the tank filled with {amount} of {thing} on {day}",
            ),
            "test": ("fill the tank with {amount} of {thing} by {day}", "put in, on {day}, {amount} of {thing}"),
        },
    ),
    Domain(
        "plan_lesson",
        "Plan a lesson of a number of minutes.",
        "subject",
        ("piano", "chess", "yoga", "maths", "drawing", "dance", "tennis", "Latin"),
        "{value}",
        "minutes",
        ("hour", "hours"),
        60,
        {
            "train": (
                "plan a lesson in {thing} of {amount} on {day}",
                "plan, on {day}, {amount} of {thing}",
                "put a lesson in {thing} on {day}, and let it last {amount}",
                "plan {amount} of {thing} for {day}",
            ),
            "dev": ("have a lesson in {thing} on {day} that lasts {amount}", "put {amount} of {thing} on {day}"),
            "test": ("plan, for {day}, a lesson in {thing} of {amount}", "let a lesson in {thing} last {amount} on {day}"),
        },
    ),
    Domain(
        "buy_gloves",
        "Buy a number of single gloves of a material.",
        "material",
        ("wool", "leather", "cotton", "silk", "rubber", "felt", "linen", "nylon"),
        "{value}",
        "gloves",
        ("pair", "pairs"),
        2,
        {
            "train": (
                "buy gloves of {thing}, {amount} in all, on {day}",
                "buy, on {day}, {amount} made of {thing}",
                "order {amount} made of {thing} for {day}",
                "get {amount} of {thing} by {day}",
            ),
            "dev": ("get gloves of {thing} on {day}, {amount} in all", "order, by {day}, {amount} of {thing}"),
            "test": ("buy {amount} made of {thing} by {day}", "order gloves of {thing} for {day}, {amount} in all"),
        },
    ),
)
