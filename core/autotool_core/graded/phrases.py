"""The surface forms of requests. Every pattern belongs to one split, so that a test shows no wording seen in training."""

from typing import Literal

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

FRAMES = {
    "train": (
        "Please {request}.",
        "Could you {request}?",
        "Can you {request}, please?",
        "I would like you to {request}.",
        "We need you to {request}.",
        "Your task: {request}.",
        "Now {request}.",
        "It is time to {request}.",
        "Do this: {request}.",
        "Next, {request}.",
        "Let us {request}.",
    ),
    "test": ("Would you please {request}?", "I need you to {request}.", "The task is to {request}.", "Please {request}, now."),
}
"""Around the request itself."""

ADDED = {
    "train": (
        "{amount} and {more} more",
        "{amount} plus {more}",
        "{more} more than {amount}",
        "{amount} with {more} more",
        "{amount} and another {more}",
        "{amount} increased by {more}",
        "{more} on top of {amount}",
        "{more} added to {amount}",
    ),
    "test": ("{amount} and then {more} more", "{amount}, plus {more} more"),
}
TAKEN = {
    "train": (
        "{amount} but {less} less",
        "{amount} minus {less}",
        "{less} less than {amount}",
        "{amount} with {less} less",
        "{amount}, only {less} less",
        "{amount} reduced by {less}",
        "{amount} with {less} taken off",
        "{less} taken from {amount}",
    ),
    "test": ("{amount} and then {less} less", "{amount}, minus {less}"),
}
AMOUNT_FROM_TABLE = {
    "train": (
        "as many {unit} as the table gives {name}",
        "the number of {unit} of {name}",
        "the {unit} of {name} in the table",
        "the number of {unit} that {name} gets",
        "the {unit} beside {name} in the table",
        "as many {unit} as stand beside {name}",
    ),
    "test": ("as many {unit} as {name} has in the table", "the {unit} the table gives {name}"),
}
THING_FROM_LIST = {
    "train": (
        "the {thing} of {name}",
        "the {thing} that {name} has in the list",
        "what the list gives {name}",
        "the {thing} listed for {name}",
        "the {thing} beside {name}",
        "what stands beside {name} in the list",
    ),
    "test": ("the {thing} the list gives {name}", "what {name} has in the list"),
}
SHIFTED = {
    "train": (
        "the day {count} days after {day}",
        "the day that comes {count} days after {day}",
        "{day} plus {count} days",
        "{count} days later than {day}",
        "the day that follows {day} by {count} days",
        "{day} with {count} days added",
        "{day} and another {count} days",
    ),
    "test": ("the day which is {count} days after {day}", "{day} and {count} days more"),
}
AMOUNT_TABLE = {
    "train": (
        "Table of {unit}: {rows}.",
        "The table of {unit} says: {rows}.",
        "Here is a table of {unit}: {rows}.",
        "Look at the table of {unit}: {rows}.",
        "A table, with {unit}: {rows}.",
    ),
    "test": ("The table of {unit}: {rows}.", "Table, in {unit}: {rows}."),
}
THING_LIST = {
    "train": (
        "List of {thing}: {rows}.",
        "The list of {thing} says: {rows}.",
        "Here is a list of {thing}: {rows}.",
        "Look at the list of {thing}: {rows}.",
        "A list, with {thing}: {rows}.",
    ),
    "test": ("The list of {thing}: {rows}.", "List, by {thing}: {rows}."),
}
