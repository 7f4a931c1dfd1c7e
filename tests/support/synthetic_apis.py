"""Descriptions of tools as Seal-Tools has them, for the tests of synthetic requests."""

from typing import Any

from autotool_training.common.records import Record


def api(name: str, schema: str, required: list[str], **properties: tuple[str, str]) -> dict[str, Any]:
    described = {key: {"type": type_, "description": text} for key, (type_, text) in properties.items()}
    return {"api_name": name, "api_description": schema, "field": "Food/Baking", "parameters": described, "required": required}


BREAD = api(
    "getBread",
    "Retrieve the baking time of a specific bread",
    ["bread_type", "weight"],
    bread_type=("str", "The bread (e.g., rye bread, 'spelt loaf', or baguette)"),
    weight=("float", "The weight in kilograms (e.g., 0.5, 1.25)"),
    include_crust=("bool", "Whether to include the crust (true/false)"),
)
OVEN = api(
    "bookOven",
    "Book an oven of a bakery",
    ["oven_id", "date"],
    oven_id=("str", "The ID of the oven"),
    date=("str", "The day (e.g., YYYY-MM-DD)"),
    city=("str", "The city (e.g., city name)"),
    hours=("int", "The hours (e.g., 2, 3, 8)"),
)
LAWS = api("getBreadLaws", "Retrieve the laws about bread", [])
POEM = api("printPoem", "Print a poem", ["verses"], verses=("str", "What the poem says"))
STALL = api("rentStall", "Rent a stall", ["budget"], budget=("int", "The budget"), town=("str", "The town"))
SHOP = api("findShop", "Find a shop", ["shop_name"], shop_name=("str", "The shop (e.g., Crumbs, 'Golden Loaf')"))
ROWS = (BREAD, OVEN, LAWS, POEM)


def user_text(record: Record) -> str:
    return " ".join(message["content"] for message in record.messages if message["role"] == "user")
