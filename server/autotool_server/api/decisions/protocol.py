"""OpenAI's decisions as a protocol: typed questions about an input, answered with probabilities.

Reference: https://developers.openai.com/api/reference/resources/decisions (public beta of 2026).
"""

from collections.abc import Sequence

from openai.types import Decision

from autotool_server.api.decisions.answers import DecisionBuilder
from autotool_server.api.decisions.questions import answers_of, messages_of
from autotool_server.api.decisions.schemas import DecisionRequest
from autotool_server.api.protocol import Protocol
from autotool_server.api.state import ServerState
from autotool_server.conversation import scoring
from autotool_server.conversation.job import Job
from autotool_server.conversation.text_threads import Run


class Decisions(Protocol[DecisionRequest]):
    """`POST /v1/decisions`: answers each question by the probabilities of its answers as the model's next token."""

    path = "/v1/decisions"
    body_type = DecisionRequest
    answer_type = Decision

    async def prepare(self, body: DecisionRequest, ignored: Sequence[str], state: ServerState, run: Run) -> Job:
        questions = [
            scoring.Question(messages_of(body, question), answers_of(question), f"questions.{number}")
            for number, question in enumerate(body.questions)
        ]
        # A small body makes a long text, as often as it has questions.
        run = state.service.texts.run if len(questions) > 1 else run
        return await scoring.prepare(state.service, body.model, questions, ignored, run)

    def builder(self, body: DecisionRequest, job: Job, state: ServerState) -> DecisionBuilder:
        return DecisionBuilder(body, job)


PROTOCOL = Decisions()
