"""Writes tool-call dialogues of a made-up company in OpenAI's fine-tuning form, as data to try `autotool train run` on.

    python training/examples/company_dialogues.py --dialogues 200 --out runs/company.jsonl

The company sells goods: its tools look orders up, ship them, order goods and write invoices. A dialogue has one to three
requests; calls have results, and some requests fit no tool. Where a value has to be derived (dozens, a sum, a day after
another one) the answer has its reasoning in `reasoning_content`, as a thinking model would have written it.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CUSTOMERS = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Kira", "Leo")
GOODS = ("plums", "figs", "lemons", "apples", "pears", "candles", "plates", "gloves", "lamps", "books", "coats", "shoes")


def tool(name: str, description: str, **kinds: str) -> dict[str, Any]:
    """Return a tool whose arguments, all required, have these JSON types."""
    properties = {argument: {"type": kind} for argument, kind in kinds.items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    tool("find_order", "Look up an order by its number.", order="integer"),
    tool("ship_order", "Ship an order on a day.", order="integer", day="string"),
    tool("order_goods", "Order a number of pieces for the store.", goods="string", pieces="integer"),
    tool("write_invoice", "Write an invoice to a customer.", customer="string", amount="integer"),
]
OTHER_REQUESTS = (
    "Please reserve a room.",
    "Can you rent a bus for us?",
    "Could you plan a lesson?",
    "Book a table for us, please.",
    "Is there tea?",
)
THANKS = ("It is all I need.", "It is all for now.", "Now we have all we need.")


class Dialogue:
    """Builds the messages of one dialogue."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.messages: list[Message] = []
        self.order: int | None = None
        """The order that was spoken of last."""

    def ask(self, *wordings: str) -> None:
        """Add a request in one of these wordings."""
        self.messages.append({"role": "user", "content": self.draw.choice(wordings)})

    def say(self, text: str) -> None:
        """Add an answer in text."""
        self.messages.append({"role": "assistant", "content": text})

    def call(self, name: str, arguments: dict[str, Any], result: dict[str, Any], why: str = "") -> None:
        """Add a call and its result. `why`: how the arguments are derived, if they are."""
        call_id = f"call_{len(self.messages)}"
        function = {"name": name, "arguments": json.dumps(arguments)}
        answer: Message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        }
        if why:
            values = ", ".join(f"{key} {value}" for key, value in arguments.items())
            answer["reasoning_content"] = f"{why} So {name}: {values}."
        self.messages += [answer, {"role": "tool", "tool_call_id": call_id, "content": json.dumps(result)}]

    def number(self) -> int:
        """Return the number of another order."""
        self.order = self.draw.randrange(100, 1000)
        return self.order


def find(dialogue: Dialogue) -> None:
    """Look an order up."""
    draw, order = dialogue.draw, dialogue.number()
    dialogue.ask(f"Please find order {order}.", f"Look up order {order}, please.", f"What is in order {order}?")
    goods, pieces, customer = draw.choice(GOODS), draw.randrange(2, 100), draw.choice(CUSTOMERS)
    dialogue.call("find_order", {"order": order}, {"goods": goods, "pieces": pieces, "customer": customer})
    dialogue.say(f"Order {order} is {pieces} {goods} for {customer}.")


def ship(dialogue: Dialogue) -> None:
    """Ship an order: the one that was spoken of, or another; on a day, or some days after it."""
    draw = dialogue.draw
    named = "it" if dialogue.order else f"order {dialogue.number()}"
    start, shift = draw.randrange(7), draw.choice((0, 0, 2, 3, 4))
    day, passed = DAYS[start], [DAYS[(start + step) % 7] for step in range(1, shift + 1)]
    when, why = f"on {day}", ""
    if passed:
        when = draw.choice((f"{shift} days after {day}", f"{shift} days later than {day}"))
        counted = ", ".join(f"{number} {name}" for number, name in enumerate(passed, 1))
        why = f"day: {shift} days after {day}: {counted}."
    dialogue.ask(f"Please ship {named} {when}.", f"Could you ship {named} {when}?", f"Ship {named} {when}, please.")
    dialogue.call("ship_order", {"order": dialogue.order, "day": [day, *passed][-1]}, {"parcel": draw.randrange(10, 100)}, why)
    dialogue.say(f"Order {dialogue.order} is a parcel now.")


def order(dialogue: Dialogue) -> None:
    """Order goods, by the piece or by the dozen."""
    draw, goods = dialogue.draw, dialogue.draw.choice(GOODS)
    if draw.random() < 0.5:
        pieces = draw.randrange(2, 100)
        amount, why = f"{pieces} {goods}", ""
    else:
        dozens = draw.randrange(2, 10)
        pieces = 12 * dozens
        amount, why = f"{dozens} dozens of {goods}", f"{dozens} dozens x 12 = {pieces} pieces."
    dialogue.ask(f"Please order {amount}.", f"We need {amount}.", f"Could you order {amount}?", f"Buy {amount}, please.")
    dialogue.call("order_goods", {"goods": goods, "pieces": pieces}, {"day": draw.choice(DAYS)}, why)
    dialogue.say(f"{pieces} {goods} are on order.")


def invoice(dialogue: Dialogue) -> None:
    """Write an invoice, of an amount or of the sum of two."""
    draw, customer = dialogue.draw, dialogue.draw.choice(CUSTOMERS)
    amount, more = draw.randrange(11, 90), draw.choice((0, draw.randrange(2, 10)))
    words = draw.choice((f"{amount} plus {more}", f"{amount} and {more} more")) if more else str(amount)
    why = f"{amount} + {more} = {amount + more} amount." if more else ""
    dialogue.ask(f"Please write {customer} an invoice of {words}.", f"{customer} gets an invoice of {words}.")
    dialogue.call("write_invoice", {"customer": customer, "amount": amount + more}, {"invoice": draw.randrange(10, 100)}, why)
    dialogue.say(f"The invoice is on the way to {customer}.")


def other(dialogue: Dialogue) -> None:
    """Ask for what no tool does."""
    dialogue.ask(*OTHER_REQUESTS)
    dialogue.say("No tool of the store is for that.")


def thank(dialogue: Dialogue) -> None:
    """End the dialogue."""
    dialogue.ask(*THANKS)
    dialogue.say("You are welcome.")


REQUESTS: tuple[Callable[[Dialogue], None], ...] = (find, ship, order, invoice, find, ship, order, invoice, other)


def make(seed: int, index: int) -> dict[str, Any]:
    """Return a dialogue as a row of OpenAI's fine-tuning form."""
    dialogue = Dialogue(random.Random(f"{seed}/{index}"))  # noqa: S311 not a secret
    for request in dialogue.draw.sample(REQUESTS, dialogue.draw.choice((1, 1, 2, 2, 3))):
        request(dialogue)
    if dialogue.draw.random() < 0.1:
        thank(dialogue)
    return {"messages": dialogue.messages, "tools": TOOLS}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file to write, .jsonl")
    parser.add_argument("--dialogues", type=int, default=200, help="number of dialogues")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows = (json.dumps(make(given.seed, index)) for index in range(given.dialogues))
    given.out.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    sys.stdout.write(f"{given.dialogues} dialogues are saved to {given.out}.\n")


if __name__ == "__main__":
    main()
