"""The surface forms of requests. Every pattern belongs to one split, so that tests have no wording of the training split."""

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
        "You should {request}.",
        "Be so kind and {request}.",
        "Please {request} for me.",
        "We want to {request}.",
    ),
    "test": ("Would you please {request}?", "I need you to {request}.", "The task is to {request}.", "Please {request}, now."),
}
"""The sentences around a request."""

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
        "{amount}, with {more} more",
        "{amount} and also {more}",
        "{amount}, raised by {more}",
        "{amount}, and on top {more}",
        "first {amount}, then {more} more",
        "{amount} and {more} on top",
        "{amount} plus another {more}",
        "{amount} raised by {more}",
        "{amount}, then {more} extra",
        "{more} beyond {amount}",
        "{amount} with another {more} added",
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
        "{amount}, with {less} less",
        "{amount} and {less} less",
        "{amount}, lowered by {less}",
        "{amount}, but {less} fewer",
        "{amount} after {less} are taken off",
        "first {amount}, then {less} less",
        "{amount} and {less} fewer",
        "{less} fewer than {amount}",
        "{amount} lowered by {less}",
        "{amount}, then {less} off",
        "{amount} without {less} of them",
        "{amount} but minus {less}",
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
        "as many {unit} as {name} gets",
        "the {unit} which {name} gets",
        "the {unit} for {name}",
        "as many {unit} as there are for {name}",
        "what the table says for {name}, in {unit}",
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
        "the {thing} which {name} gets",
        "the {thing} for {name}",
        "what the list says for {name}",
        "what {name} gets",
        "the {thing} that stands in the list for {name}",
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
        "{day}, then {count} days on",
        "{day} but {count} days later",
        "{day} moved on by {count} days",
        "{count} days from {day}",
        "{count} days past {day}",
        "{count} more days after {day}",
        "{count} days beyond {day}",
        "{day} with another {count} days",
        "{day} and {count} extra days",
        "the day to come {count} days after {day}",
        "the day we reach {count} days after {day}",
        "the day that you find {count} days from {day}",
        "{day} plus another {count} days",
        "{count} days on top of {day}",
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
        "In a table of {unit}: {rows}.",
        "A table of {unit} follows: {rows}.",
        "Table, {unit}: {rows}.",
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
        "In a list of {thing}: {rows}.",
        "A list of {thing} follows: {rows}.",
        "List, {thing}: {rows}.",
    ),
    "test": ("The list of {thing}: {rows}.", "List, by {thing}: {rows}."),
}
