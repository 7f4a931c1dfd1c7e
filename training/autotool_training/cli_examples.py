"""The example of each command of `autotool train`, shown at the end of its `--help`."""

RECIPE = "training/recipes/graded-tiny.toml"
BASE = "training/checkpoints/graded-tiny-base"

EXAMPLES = {
    "run": """autotool train run company-tiny --data runs/company.jsonl --out runs/company""",
    "data": "autotool train data --source graded=20 --distractors 1 --out runs/data.jsonl",
    "label": f"""autotool train label --records runs/data.jsonl --out runs/labelled.jsonl \\
    --short {BASE} \\
    --long {BASE}""",
    "scratch": "autotool train scratch training/recipes/graded-tiny-base.toml --out runs/base",
    "sft": f"""autotool train sft {RECIPE} \\
    --records runs/labelled.jsonl --out runs/sft --set sft.epochs=2""",
    "refine": f"""autotool train refine {RECIPE} \\
    --records runs/labelled.jsonl --checkpoint runs/sft/steps \\
    --out runs/refined.jsonl""",
    "rl": f"""autotool train rl {RECIPE} \\
    --records runs/refined.jsonl --base runs/sft --out runs/rl""",
    "decide": f"""autotool train decide --records runs/labelled.jsonl \\
    --checkpoint {BASE} --out runs/decide.json""",
    "join": "autotool train join runs/sft/adapter runs/rl/adapter --out runs/adapter",
    "push": "autotool train push runs/rl my-name/my-model --private",
    "check": f"autotool train check {RECIPE} --set rl.steps=500",
    "plot": "autotool train plot runs/rl --out runs/dynamics.svg",
}


def example(name: str) -> str:
    """Return the last paragraph of a command's help. A backspace in a line of its own keeps click from joining the lines."""
    return f"Example:\n\n\b\n{EXAMPLES[name]}"
