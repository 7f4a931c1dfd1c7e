"""Measure the speed and memory of the server and of the trainer."""

import typer

from autotool_bench.perf import cli_speed, cli_tasks, cli_traffic, cli_training

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=__doc__)

for group in (cli_speed, cli_traffic, cli_tasks, cli_training):
    app.add_typer(group.app)  # without a name: its commands are those of `autotool bench perf`
