"""Leaves out the conversations that the chat template of a model of the run refuses, before hours of attempts at them."""

from collections.abc import Callable, Iterator, Sequence

from autotool_core.chat_template import ChatTemplate
from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_training.common.records import Record
from autotool_training.label.checkpoint import read_template


def taken(
    records: Sequence[Record], models: Sequence[str], skipped: Callable[[str], None], *, strict: bool
) -> Iterator[Record]:
    """Yield the records that the templates of all models, folders or hub ids, take; `skipped` gets a sentence on the others.

    Raises AutoToolError for a model without a template and, with `strict`, for a record that a template refuses.
    """
    templates = {model: read_template(model) for model in dict.fromkeys(models)}
    for record in records:
        reason = next((reason for model, one in templates.items() if (reason := _refusal(record, model, one))), None)
        if reason is None:
            yield record
        elif strict:
            raise AutoToolError(reason)
        else:
            skipped(reason)


def _refusal(record: Record, model: str, template: ChatTemplate) -> str | None:
    try:
        template.text(template.messages(record.messages), record.tools)
    except InvalidRequestError as error:
        return f"{record.id} with {model}: {error}"
    return None
