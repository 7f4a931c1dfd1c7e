"""What processes write to standard error while an engine starts: what is shown, and what is said of a failure."""

import os
from multiprocessing import get_context, resource_tracker

import pytest
from pydantic import BaseModel, ValidationError

from autotool_server.engines.child_errors import ChildErrors, last_line
from autotool_server.engines.child_processes import ending_with_this
from autotool_server.engines.vllm_errors import start_error

BAR = "Loading shards: 100%\n"
PREFIX = "(EngineCore pid=7) ERROR 11-29 03:00:00 [core.py:1510] "
OTHER = "(Worker_TP1 pid=8) ERROR 11-29 03:00:00 [worker.py:3] "
RECORD = [
    f"{PREFIX}EngineCore failed to start.",
    f"{PREFIX}Traceback (most recent call last):",
    f'{PREFIX}  File "core.py", line 1',
    f"{OTHER}ValueError: another",
    f"{PREFIX}ValueError: The weights are too large.",
]
PRINTED = ["Process EngineCore:", "Traceback (most recent call last):", "RuntimeError: it failed"]
ERRORS = "\r\n".join(RECORD) + "\n" + "\n".join(PRINTED) + "\n"


def written(*texts: str, holds: bool) -> ChildErrors:
    """The errors of a process that has written the texts and ended."""
    resource_tracker.ensure_running()  # it would hold the pipe open to the end of this process
    errors = ChildErrors(holds=holds)
    with errors.inherited():
        for text in texts:
            process = get_context("spawn").Process(target=os.write, args=(2, text.encode()))
            process.start()
            process.join()
    return errors


def test_a_failure_is_one_line_and_the_rest_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    errors = written(BAR, ERRORS, "more", holds=True)
    os.write(2, b"ours\n")
    assert errors.failed() == "ValueError: The weights are too large."
    assert sorted(capfd.readouterr().err.splitlines()) == sorted([BAR.strip(), "ours"])


def test_a_log_that_was_asked_for_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    errors = written(BAR, ERRORS, holds=False)
    assert errors.failed() == "ValueError: The weights are too large."
    assert capfd.readouterr().err == BAR + ERRORS


def test_errors_of_an_engine_that_starts_all_the_same_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    errors = written(BAR, ERRORS, holds=True)
    errors._thread.join()
    assert capfd.readouterr().err == BAR
    errors.started()
    assert capfd.readouterr().err == ERRORS
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(errors._shown)


def test_what_a_started_engine_writes_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    errors = ChildErrors(holds=True)
    with errors.inherited():
        errors.started()
        process = get_context("spawn").Process(target=os.write, args=(2, ERRORS.encode()))
        process.start()
        process.join()
    errors._thread.join()
    assert capfd.readouterr().err == ERRORS


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ((), None),
        (("", " "), None),
        (PRINTED, "RuntimeError: it failed"),
        ((*RECORD, *PRINTED), "ValueError: The weights are too large."),
        (
            ("\x1b[0;36m(EngineCore pid=7)\x1b[0;0m \x1b[31mERROR\x1b[0m \x1b[90m11-29 03:00:00\x1b[0m [core.py:1] Coloured.",),
            "Coloured.",
        ),
    ],
    ids=["empty", "blank", "printed", "record", "colours"],
)
def test_the_last_line_of_the_first_error(lines: tuple[str, ...], last: str | None) -> None:
    assert last_line("\r\n".join(lines)) == last


class Config(BaseModel):
    size: int


def test_a_failure_is_one_sentence_and_says_how_to_see_the_rest() -> None:
    rest = "`--log-level info` shows the whole log."
    assert str(start_error("ValueError: No weights.", RuntimeError("See above."))) == (
        f"vLLM did not start: ValueError: No weights. {rest}"
    )
    assert str(start_error(None, RuntimeError("No memory."))) == f"vLLM did not start: No memory. {rest}"
    with pytest.raises(ValidationError) as invalid:
        Config.model_validate({"size": "x"})
    assert str(start_error(None, invalid.value)) == (
        "vLLM did not start: Input should be a valid integer, unable to parse string as an integer. " + rest
    )


def _start_another_and_write() -> None:
    another = get_context("fork").Process(target=os.write, args=(2, b"INFO\n"))
    another.start()
    another.join()
    os.write(2, ERRORS.encode())


def test_errors_of_a_forked_process_that_has_started_another_are_kept(capfd: pytest.CaptureFixture[str]) -> None:
    errors = ChildErrors(holds=True)
    with errors.inherited(), ending_with_this():
        process = get_context("fork").Process(target=_start_another_and_write)
        process.start()
        process.join()
    assert errors.failed() == "ValueError: The weights are too large."
    assert capfd.readouterr().err == "INFO\n"
