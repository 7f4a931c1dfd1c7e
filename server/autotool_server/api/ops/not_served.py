"""Routes of OpenAI's and vLLM's APIs that this server does not have: a 404 that says why."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from autotool_core.errors import InvalidRequestError
from autotool_server.api import auth

NOT_SERVED = {
    "embeddings": "embeddings",
    "images": "images",
    "audio": "audio",
    "moderations": "moderations",
    "files": "files",
    "uploads": "files",
    "batches": "batches",
    "fine_tuning": "fine-tuning",
    "vector_stores": "vector stores",
    "assistants": "assistants",
    "threads": "assistants",
    "realtime": "realtime sessions",
    "videos": "videos",
    "rerank": "reranking",
    "score": "scores of texts",
}
"""The path, or its first part, behind `/v1/`, and what is asked for there."""

router = APIRouter(include_in_schema=False, dependencies=[Depends(auth.need_key)])


def _add_routes(path: str, kind: str) -> None:
    async def refuse() -> Response:
        message = f"This server generates text; it does not serve {kind}."
        raise InvalidRequestError(message, code="not_served", status=404)

    for route in (f"/v1/{path}", f"/v1/{path}/{{rest:path}}"):
        router.add_api_route(route, refuse, methods=["GET", "POST", "DELETE"])


for _path, _kind in NOT_SERVED.items():
    _add_routes(_path, _kind)
