"""llm-comply: all of its checks of chat completions, Responses and Messages, but those with an image."""

from collections.abc import Callable
from pathlib import Path

import llm_comply
from checks import API_KEY, BASE_URL, MODEL, run
from llm_comply.result import TestStatus
from llm_comply.test_case import TestCase
from llm_comply.tests import get_tests

SPECS = {"openai-chat": "openai_chat.json", "open-responses": "openresponses.json", "anthropic": "anthropic.json"}
CONFIG = llm_comply.ComplianceConfig(BASE_URL, API_KEY, MODEL, timeout=120)


def as_check(test: TestCase, runner: llm_comply.TestRunner) -> Callable[[], None]:
    def check() -> None:
        result = runner.run_one(test)
        print(test.id, result.status, result.errors, result.warnings)
        if result.status is not TestStatus.PASSED:
            raise AssertionError("; ".join(result.errors))

    check.__name__ = test.id
    return check


def checks_of(api: str) -> list[Callable[[], None]]:
    spec = llm_comply.SpecLoader(str(Path(llm_comply.__file__).parent / "specs" / SPECS[api]))
    tests = [test for test in get_tests(api) if "image" not in test.id]
    for test in tests:
        test.skip_reason = None  # it skips those on reasoning by the names of models that it knows
    return [as_check(test, llm_comply.TestRunner(CONFIG, tests, spec)) for test in tests]


run("llm-comply", *(check for api in SPECS for check in checks_of(api)))
