"""The wordings of free thoughts. Most words are one token each of the tokenizer of graded-tiny, so that a choice is cheap.

No two patterns of a list give the same text, and no opening is the beginning of another list's pattern.
"""

OPENINGS = ("So", "Now", "Next", "Here", "Yes,", "Look:", "then", "and", "also", "so then", "and now", "and then")
CHECKS = ("Or", "Or:", "Look", "Yes:", "No:", "Again:")
CONCLUSIONS = ("In all,", "Here:", "It is", "Do", "Yes:", "Now:")

TOOL = (
    "the tool is {tool}",
    "use {tool}",
    "call {tool}",
    "we need {tool}",
    "take {tool}",
    "{tool} is the one",
    "{tool} should do",
    "it is {tool}",
    "{tool} it is",
    "you want {tool}",
)
GIVEN = (
    "{argument} is {value}",
    "the {argument} is {value}",
    "{argument}: {value}",
    "{value} is the {argument}",
    "{value} for {argument}",
    "for {argument} take {value}",
    "take {value} as {argument}",
    "we have {value} as {argument}",
    "{argument} should be {value}",
    "{argument} = {value}",
    "put {value} as {argument}",
    "as {argument} we get {value}",
)
LOOKED_UP = (
    "{name} has {value}",
    "{name} gets {value}",
    "{name}: {value}",
    "{value} for {name}",
    "{value} beside {name}",
    "{value} is what {name} gets",
    "for {name} it is {value}",
    "beside {name} stands {value}",
    "the {table} gives {name} {value}",
    "the {table} says {value}",
    "{name} = {value}",
    "what {name} gets is {value}",
)
ADDED = (
    "{left} + {change} = {result}",
    "{left} and {change} = {result}",
    "{result} = {left} + {change}",
    "{result} = {left} and {change}",
    "{left} plus {change} is {result}",
    "{change} more than {left} is {result}",
    "{left} and {change} more: {result}",
    "{change} on top of {left}: {result}",
    "{change} added to {left} gives {result}",
    "{left} increased by {change}: {result}",
)
TAKEN = (
    "{left} - {change} = {result}",
    "{result} = {left} - {change}",
    "{left} less {change} = {result}",
    "{left} minus {change} is {result}",
    "{change} less than {left} is {result}",
    "{left} but {change} less: {result}",
    "{change} fewer than {left}: {result}",
    "{change} taken from {left} gives {result}",
    "{left} lowered by {change}: {result}",
    "{left} and {change} off: {result}",
)
PRODUCT = (
    "{left} {large} x {factor} = {result}",
    "{left} {large} = {result}",
    "{left} x {factor} = {result}",
    "{result} = {left} x {factor}",
    "{result} = {left} {large}",
    "{left} {large}, each {factor}: {result}",
    "{left} {large} are {result}",
    "{left} {large} give {result}",
    "{left} of {factor} is {result}",
    "{factor}, and that {left} x, is {result}",
)
RESULT = (
    "that is {result}",
    "this gives {result}",
    "it is {result}",
    "we get {result}",
    "the number is {result}",
    "that gives {result}",
    "it comes to {result}",
    "{result} in all",
    "the amount is {result}",
    "{result} is the amount",
)
COUNTED = (
    "{count} days after {start}: {days}",
    "{start} plus {count} days: {days}",
    "from {start} on, {count} days: {days}",
    "after {start}, {count} days: {days}",
    "{start} and {count} more days: {days}",
    "{count} days from {start}: {days}",
    "{count} days past {start}: {days}",
    "{count} days on top of {start}: {days}",
    "we move {start} by {count} days: {days}",
    "{start}, then {days}",
)
SHIFTED = (
    "{count} days after {start} is {result}",
    "{start} plus {count} days is {result}",
    "from {start} on, {count} days, it is {result}",
    "{count} days from {start} is {result}",
    "{result} is {count} days after {start}",
    "{result} = {start} + {count} days",
    "{start} + {count} days = {result}",
    "the day is {result}",
    "day: {result}",
    "{result} is the day",
)
