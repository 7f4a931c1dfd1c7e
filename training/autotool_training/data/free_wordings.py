"""The wordings of free thoughts. Most words are one token each of the tokenizer of graded-tiny, so that a choice is cheap.

A value follows what it is derived from, as in the gold reasoning: a tiny model does not learn the other order soon.

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
    "{argument} = {value}",
    "{argument} should be {value}",
    "for {argument} take {value}",
    "for {argument} we have {value}",
    "as {argument} put {value}",
    "as {argument} we get {value}",
    "the request says {argument} {value}",
)
LOOKED_UP = (
    "{name} has {value}",
    "{name} gets {value}",
    "{name}: {value}",
    "{name} = {value}",
    "for {name} it is {value}",
    "for {name} take {value}",
    "beside {name} stands {value}",
    "what {name} gets is {value}",
    "the {table} gives {name} {value}",
    "{name} should get {value}",
)
ADDED = (
    "{left} + {change} = {result}",
    "{left} + {change} is {result}",
    "{left} + {change}: {result}",
    "{left} plus {change} = {result}",
    "{left} plus {change} is {result}",
    "{left} and {change} = {result}",
    "{left} and {change} more: {result}",
    "{left} with {change} added is {result}",
    "{left} increased by {change} is {result}",
    "{left} + {change} gives {result}",
)
TAKEN = (
    "{left} - {change} = {result}",
    "{left} - {change} is {result}",
    "{left} - {change}: {result}",
    "{left} minus {change} = {result}",
    "{left} minus {change} is {result}",
    "{left} less {change} = {result}",
    "{left} but {change} less: {result}",
    "{left} with {change} off is {result}",
    "{left} lowered by {change} is {result}",
    "{left} - {change} gives {result}",
)
PRODUCT = (
    "{left} {large} x {factor} = {result}",
    "{left} x {factor} = {result}",
    "{left} {large} x {factor} is {result}",
    "{left} x {factor} is {result}",
    "{left} x {factor}: {result}",
    "{left} {large} x {factor}: {result}",
    "{left} {large}, x {factor}, are {result}",
    "{left} x {factor} gives {result}",
    "{left} {large} x {factor} gives {result}",
    "{left} of {factor} are {result}",
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
    "{start} + {count} days: {days}",
    "from {start} on, {count} days: {days}",
    "after {start}, {count} days: {days}",
    "{start} and {count} days: {days}",
    "{count} days from {start}: {days}",
    "{count} days past {start}: {days}",
    "{count} days on top of {start}: {days}",
    "{count} more days after {start}: {days}",
)
SHIFTED = (
    "{count} days after {start} is {result}",
    "{start} plus {count} days is {result}",
    "{start} + {count} days = {result}",
    "{start} and {count} days is {result}",
    "{start} + {count} days: {result}",
    "{count} days from {start} is {result}",
    "{count} days past {start} is {result}",
    "after {start}, {count} days, it is {result}",
    "{count} days on top of {start} is {result}",
    "{count} more days after {start} is {result}",
)
