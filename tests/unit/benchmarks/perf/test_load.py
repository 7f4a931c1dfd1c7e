"""The ratios that `bench perf load` reports, from figures of rounds."""

from typer.testing import CliRunner

from autotool_bench.perf.cli import app
from autotool_bench.perf.load import METRICS, Measured, decision_ratios, mode_fields, ratios_of
from autotool_bench.perf.servers import Server


def figures(value: float) -> dict[str, float]:
    return dict.fromkeys(METRICS, value)


def rounds(*modes: str) -> list[Measured]:
    """Two rounds, in which the figures of each mode are twice those of the mode before, and ours thrice the stock server's."""
    return [
        {
            mode: {"ours": figures(3 * start * 2**number), "stock": figures(start * 2**number)}
            for number, mode in enumerate(modes)
        }
        for start in (1.0, 5.0)
    ]


def test_ratios_are_those_within_a_round() -> None:
    ratios = ratios_of(rounds("long", "short"))
    assert ratios == {mode: {metric: [3.0, 3.0] for metric in METRICS} for mode in ("long", "short")}


def test_a_decision_costs_the_ratio_of_auto_to_short() -> None:
    assert decision_ratios(rounds("short", "auto")) == {metric: [2.0, 2.0] for metric in METRICS}


def test_without_both_modes_there_is_no_such_ratio() -> None:
    assert decision_ratios(rounds("long", "short")) == decision_ratios(rounds("auto", "long")) == {}


def test_stock_vllm_answers_short_in_place_of_auto() -> None:
    assert mode_fields(Server("ours", [], 1), "auto") == {"mode": "auto"}
    assert mode_fields(Server("stock", [], 1), "auto") == mode_fields(Server("stock", [], 1), "short")


def test_an_unknown_mode_is_named() -> None:
    result = CliRunner().invoke(app, ["load", "--modes", "auto,brief"])
    assert result.exit_code == 2
    assert "'brief' is not a valid Mode; the modes are auto, long, short." in " ".join(result.output.replace("│", "").split())
