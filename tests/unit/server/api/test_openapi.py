"""The OpenAPI document: every route is described, and every reference leads somewhere."""

import json
import re
from typing import Any

import httpx
from support.serving import running, scripted

from autotool_server.api.protocol import protocols

ANSWERS = {
    ("get", "/v1/models"): "ModelList",
    ("get", "/v1/models/{name}"): "ModelEntry",
    ("get", "/v1/savings"): "SavingsAnswer",
    ("post", "/v1/feedback"): "FeedbackAnswer",
    ("get", "/v1/tools"): "ToolList",
    ("post", "/v1/tools/{name}/accept"): "ToolEntry",
    ("get", "/v1/responses/{response_id}"): "Response",
    ("delete", "/v1/responses/{response_id}"): "DeletedResponse",
    ("post", "/v1/responses/{response_id}/cancel"): "Response",
    ("get", "/v1/responses/{response_id}/input_items"): "InputItemPage",
}
NO_KEY = {"/health", "/health/live", "/health/ready", "/ping", "/version", "/metrics"}


async def document() -> dict[str, Any]:
    async with running(scripted("x"), api_key="k") as server, httpx.AsyncClient() as client:
        base = server.url.removesuffix("/v1")
        assert "swagger" in (await client.get(f"{base}/docs")).text
        return (await client.get(f"{base}/openapi.json")).json()


async def test_bodies_answers_and_errors_of_protocols_are_described() -> None:
    found = await document()
    for protocol in protocols():
        described = found["paths"][protocol.path]["post"]
        assert described["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        answers = described["responses"]["200"]["content"]
        assert protocol.stream_media_type.partition(";")[0] in answers
        busy = "529" if protocol.path == "/v1/messages" else "503"
        assert {"400", "401", "404", "413", "415", "500", busy} <= set(described["responses"])
    answer = found["paths"]["/v1/completions"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["$ref"].endswith("Completion")


async def test_answers_of_other_routes_are_described() -> None:
    found = await document()
    for (method, path), answer in ANSWERS.items():
        content = found["paths"][path][method]["responses"]["200"]["content"]
        assert content["application/json"]["schema"]["$ref"].rpartition("/")[2] == answer


async def test_every_reference_leads_to_a_schema_and_no_route_answers_422() -> None:
    found = await document()
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)))
    assert references
    assert references <= set(found["components"]["schemas"])
    operations = [(path, operation) for path, methods in found["paths"].items() for operation in methods.values()]
    for path, operation in operations:
        assert "422" not in operation["responses"]
        assert ("401" in operation["responses"]) == ("security" in operation) == (path not in NO_KEY)
    assert "/v1/embeddings" not in found["paths"]
