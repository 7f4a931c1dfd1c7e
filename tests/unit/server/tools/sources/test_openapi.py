"""Operations of an OpenAPI document as tools: names, arguments, references and requests."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import jsonschema
import pytest

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_server.tools.base import ToolError
from autotool_server.tools.registry import Registry
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.http import HttpTool
from autotool_server.tools.sources.openapi import OpenApiEntry, OpenApiSource

NODE = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/components/schemas/Node"}}}
TEXT = {"schema": {"type": "string"}}


def document(operation: dict[str, Any], path: str = "/things", method: str = "get", **more: Any) -> dict[str, Any]:
    head = {"openapi": "3.1.0", "info": {}, "servers": [{"url": "https://shop.test/v1"}]}
    return head | {"paths": {path: {method: operation}}, "components": {"schemas": {"Node": NODE}}} | more


def body(schema: Any, *, required: bool = True, media: str = "application/json") -> dict[str, Any]:
    return {"required": required, "content": {media: {"schema": schema}}}


def fine(headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"fine"))


class Shop:
    """The source of a document, with the network replaced."""

    def __init__(self, file: Path, content: dict[str, Any] | str, **entry: Any) -> None:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        self.source = OpenApiSource(
            "shop", OpenApiEntry.model_validate({"document": str(file)} | entry), Secrets({"KEY": "secret"})
        )
        self.requests: list[httpx.Request] = []

    async def tools(self) -> dict[str, HttpTool]:
        await self.source.start()
        found = {tool.spec.name: tool for tool in self.source.tools if isinstance(tool, HttpTool)}
        for tool in found.values():
            tool.client._transport = httpx.MockTransport(self.answer)
            jsonschema.Draft202012Validator.check_schema(dict(tool.spec.parameters))
        return found

    async def only(self) -> HttpTool:
        (tool,) = (await self.tools()).values()
        return tool

    async def send(self, **arguments: Any) -> httpx.Request:
        tool = await self.only()
        jsonschema.validate(arguments, tool.spec.parameters)
        await tool.call(arguments)
        return self.requests[-1]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return fine()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shop.json"


async def test_everything_at_once(file: Path) -> None:
    operation = {
        "operationId": "changeThing",
        "summary": "Change a thing.",
        "description": "Its text.",
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
            {"name": "tags", "in": "query", "schema": {"type": "array"}, "description": "Some tags."},
            {"name": "ids", "in": "query", "explode": False, "schema": {"type": "array"}},
            {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
            {"name": "X-Api-Key", "in": "header", "required": True, "schema": {"type": "string"}},
            {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}},
            {"name": "session", "in": "cookie", "schema": {"type": "string"}},
        ],
        "requestBody": body({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}),
    }
    shop = Shop(file, document(operation, "/things/{id}", "put"), headers={"x-api-key": "${KEY}"})
    request = await shop.send(id=7, tags=["a", "b"], ids=[1, 2], name="ü", **{"X-Trace": "t"})
    assert str(request.url) == "https://shop.test/v1/things/7?tags=a&tags=b&ids=1%2C2"
    assert (request.method, json.loads(request.content)) == ("PUT", {"name": "ü"})
    assert (request.headers["x-trace"], request.headers["x-api-key"]) == ("t", "secret")
    spec = (await shop.only()).spec
    assert (spec.name, spec.description) == ("shop.changeThing", "Change a thing.\nIts text.")
    assert (spec.policy.read_only, spec.policy.idempotent) == (False, True)
    assert list(spec.parameters["properties"]) == ["id", "tags", "ids", "X-Trace", "name"]
    assert spec.parameters["required"] == ["id", "name"]
    assert spec.parameters["properties"]["tags"] == {"type": "array", "description": "Some tags."}
    assert spec.parameters["additionalProperties"] is False


async def test_cycles_stay_references(file: Path) -> None:
    shop = Shop(file, document({"operationId": "a", "requestBody": body({"$ref": "#/components/schemas/Node"})}, method="post"))
    schema = (await shop.only()).spec.parameters
    assert schema["properties"]["next"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"]["next"] == {"$ref": "#/$defs/Node"}
    assert json.loads((await shop.send(value=1, next={"value": 2, "next": {}})).content)["next"]["value"] == 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"next": {"next": {"value": "x"}}}, schema)


async def test_references_to_parameters_and_bodies(file: Path) -> None:
    parts = {"parameters": {"q": {"name": "q", "in": "query", "schema": {"$ref": "#/components/schemas/a~1b"}}},
             "requestBodies": {"b": body({"type": "array", "items": {"$ref": "#/components/schemas/a~1b"}})},
             "schemas": {"a/b": {"enum": ["x", {"$ref": "data"}]}}}  # fmt: skip
    operation = {"parameters": [{"$ref": "#/components/parameters/q"}], "requestBody": {"$ref": "#/components/requestBodies/b"}}
    shop = Shop(file, document(operation, method="post", components=parts))
    request = await shop.send(q="x", body=["x"])
    assert (str(request.url), request.content) == ("https://shop.test/v1/things?q=x", b'["x"]')
    assert (await shop.only()).spec.name == "shop.post_things"
    assert (await shop.only()).spec.parameters["$defs"] == {"a_1b": {"enum": ["x", {"$ref": "data"}]}}


@pytest.mark.parametrize(
    ("reference", "message"),
    [("#/components/schemas/No", "nothing at #/components/schemas/No"), ("other.json#/a", "outside the document"),
     ("#/components/schemas/Loop", "leads back to itself")],
)  # fmt: skip
async def test_references_that_lead_nowhere(file: Path, reference: str, message: str) -> None:
    loop = {"schemas": {"Loop": {"$ref": "#/components/schemas/Loop"}}}
    shop = Shop(file, document({"requestBody": body({"$ref": reference})}, method="post", components=loop))
    with pytest.raises(AutoToolError, match=message) as error:
        await shop.tools()
    assert "[openapi.shop]" in str(error.value)


@pytest.mark.parametrize(
    ("schema", "required"),
    [
        ({"type": "object", "properties": {"id": {}}}, True),  # a parameter has that name
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),  # not needed, but whole if at all
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, True),
        ({"type": "object", "properties": {"a": {}}, "minProperties": 1}, True),
        ({"oneOf": [{"type": "object"}, {"type": "array"}]}, True),
        ({"type": "string"}, True),
    ],
)
async def test_bodies_kept_whole(file: Path, schema: dict[str, Any], required: bool) -> None:
    query = {"name": "id", "in": "query", "schema": {}}
    shop = Shop(file, document({"parameters": [query], "requestBody": body(schema, required=required)}, method="post"))
    parameters = (await shop.only()).spec.parameters
    assert parameters["properties"] == {"id": {}, "body": schema}
    assert parameters["required"] == (["body"] if required else [])
    await (await shop.only()).call({"id": 1, "body": {"id": 2}})
    assert (shop.requests[-1].url.query, shop.requests[-1].content) == (b"id=1", b'{"id":2}')
    if not required:
        assert (await shop.send(id=1)).content == b""


async def test_what_a_request_does_not_hold(file: Path) -> None:
    """Properties of responses only, and keywords that JSON Schema does not have, are dropped."""
    schema = {"type": "object", "required": ["id", "a"], "x-note": 1, "example": {}, "properties": {
        "id": {"readOnly": True}, "a": {"type": "string", "xml": {}, "x-y": 1}, "example": {"type": "null"}}}  # fmt: skip
    parameters = (await Shop(file, document({"requestBody": body(schema)}, method="post")).only()).spec.parameters
    assert parameters["properties"] == {"a": {"type": "string"}, "example": {"type": "null"}}
    assert parameters["required"] == ["a"]


async def test_the_words_of_3_0(file: Path) -> None:
    schema = {"type": "object", "properties": {
        "a": {"type": "string", "nullable": True}, "b": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "c": {"type": "number", "maximum": 0, "exclusiveMaximum": False},
        "d": {"$ref": "#/components/schemas/Node", "description": "passed over"}}}  # fmt: skip
    shop = Shop(file, document({"requestBody": body(schema)}, method="post", openapi="3.0.3"))
    assert (await shop.only()).spec.parameters["properties"] == {
        "a": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "b": {"type": "number", "exclusiveMinimum": 0},
        "c": {"type": "number", "maximum": 0},
        "d": {"$ref": "#/$defs/Node"},
    }


async def test_names_fit_and_include_chooses(file: Path) -> None:
    paths = {
        "/a": {"get": {"operationId": "list things/all"}, "post": {"operationId": "x" * 90}, "trace": {}},
        "/b": {"get": {}},
    }
    shop = Shop(file, document({}, paths=paths))
    assert list(await shop.tools()) == ["shop.list_things_all", "shop." + "x" * 59, "shop.get_b"]
    assert list(await Shop(file, document({}, paths=paths), include=["list*"]).tools()) == ["shop.list_things_all"]
    with pytest.raises(AutoToolError, match=r"include: no operation of the document is named 'no\*'"):
        await Shop(file, document({}, paths=paths), include=["list*", "no*"]).tools()
    assert list(await Shop(file, document({}, paths=paths), exclude=["x*", "list things/all"]).tools()) == ["shop.get_b"]
    with pytest.raises(AutoToolError, match=r"exclude: no operation of the document is named 'no\*'"):
        await Shop(file, document({}, paths=paths), exclude=["no*"]).tools()


async def test_policies_of_the_entry(file: Path) -> None:
    shop = Shop(file, document({"operationId": "search"}, method="post"), read_only=["sea*"], timeout=3)
    policy = (await shop.only()).spec.policy
    assert (policy.read_only, policy.idempotent, policy.timeout) == (True, True, 3)


QUERY = {"name": "a", "in": "query", **TEXT}


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"parameters": [QUERY, QUERY | {"in": "header"}]}, "two arguments named 'a', one of them in its header"),
        ({"parameters": [QUERY, QUERY | {"name": "body"}], "requestBody": body({})}, "two arguments named 'body'"),
        ({"parameters": [QUERY | {"in": "cookie", "required": True}]}, "'a' is not supported"),
        ({"parameters": [QUERY | {"style": "deepObject"}]}, "'a' is not supported"),
        ({"parameters": [QUERY | {"schema": {"$ref": "#/components/schemas/Node"}}]}, "'a' is not supported"),
        ({"parameters": [{"name": "a", "in": "query", "content": {}}]}, "'a' is not supported"),
        ({"parameters": [{"in": "query"}]}, "is not valid OpenAPI"),
        ({"parameters": 7}, "is not valid OpenAPI"),
        ({"requestBody": body({}, media="multipart/form-data")}, "a body that is not JSON"),
        ({"servers": [{"url": "https://other.test"}]}, "names another server"),
    ],
)
async def test_operations_that_cannot_be_tools(file: Path, operation: dict[str, Any], message: str) -> None:
    with pytest.raises(AutoToolError, match=message) as error:
        await Shop(file, document({"operationId": "op"} | operation, method="post")).tools()
    assert "[openapi.shop] operation 'op'" in str(error.value)


MIXED: dict[str, Any] = {
    "/a": {
        "get": {"operationId": "fine"},
        "post": {"operationId": "upload", "requestBody": body({}, media="multipart/form-data")},
        "put": {"operationId": "odd", "requestBody": body({"type": "objekt"})},
        "patch": {"operationId": "fi ne"},
        "delete": {"operationId": "fi_ne"},
    },
    "/b": 7,
    "/c": {"$ref": "#/paths/~1c"},
}


async def test_a_file_with_several_operations_that_cannot_be_tools_names_them_all(file: Path) -> None:
    with pytest.raises(AutoToolError, match=r"'upload' needs a body that is not JSON") as error:
        await Shop(file, document({}, paths=MIXED)).tools()
    assert str(error.value).endswith("Neither can these be tools: odd, fi_ne, get_b, get_c.")
    shop = Shop(file, document({}, paths=MIXED), exclude=["upload", "odd", "fi_ne", "get_*"])
    assert list(await shop.tools()) == ["shop.fine", "shop.fi_ne"]


async def test_a_url_with_operations_that_cannot_be_tools_has_them_disabled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop.json").write_text(json.dumps(document({}, paths=MIXED, servers=[{"url": "/v1"}])))
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/shop.json"
        source = OpenApiSource("shop", OpenApiEntry(document=url), Secrets({}))
        async with Registry([source]) as registry:
            disabled = {name: tool.spec.disabled for name, tool in registry.tools.items()}
            with pytest.raises(InvalidRequestError, match=r"cannot be enabled: .*not JSON"):
                registry.accept("shop.upload", registry.tools["shop.upload"].spec.fingerprint)
            assert registry.choose({"shop.*": "tools"}).keys() == {"shop.fine", "shop.fi_ne"}
        server.shutdown()
        thread.join()
    reasons = {
        "shop.upload": "not JSON",
        "shop.odd": "no valid JSON schema",
        "shop.fi_ne-2": "two tools named shop.fi_ne",
        "shop.get_b": "the path /b is not valid OpenAPI",
        "shop.get_c": "leads back to itself",
    }
    assert disabled.keys() == {"shop.fine", "shop.fi_ne", *reasons}
    assert all(reason in (disabled[name] or "") for name, reason in reasons.items())
    assert caplog.text.count("Its tool is disabled.") == len(reasons)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name in the standard library
        """Write nothing."""


async def test_a_path_without_its_parameter(file: Path) -> None:
    with pytest.raises(AutoToolError, match=r"\{id\} of its path is not among its parameters"):
        await Shop(file, document({}, "/things/{id}")).tools()


async def test_duplicate_operation_names(file: Path) -> None:
    paths = {"/a": {"get": {"operationId": "a b"}, "post": {"operationId": "a_b"}}}
    with pytest.raises(AutoToolError, match=r"two tools named shop\.a_b"):
        await Shop(file, document({}, paths=paths)).tools()


async def test_parameters_of_the_path_may_be_replaced(file: Path) -> None:
    item = {"parameters": [QUERY, QUERY | {"name": "b"}], "get": {"parameters": [QUERY | {"schema": {"type": "integer"}}]}}
    shop = Shop(file, document({}, paths={"/a": item}))
    assert (await shop.only()).spec.parameters["properties"] == {"a": {"type": "integer"}, "b": {"type": "string"}}


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "ü", ""])
async def test_values_that_no_header_can_hold(file: Path, value: str) -> None:
    shop = Shop(file, document({"parameters": [QUERY | {"in": "header"}]}))
    with pytest.raises(ToolError, match="goes into a header"):
        await (await shop.only()).call({"a": value})
    assert not shop.requests


YAML = """
openapi: 3.1.0
servers: [{url: "https://{host}.test", variables: {host: {default: shop}}}]
paths:
  /things:
    get:
      operationId: list
      parameters:
        - {name: country, in: query, schema: {enum: [no, se, true], default: 2020-01-01}}
      responses: {200: {description: fine}}
"""


async def test_yaml_is_read_as_json_is(file: Path) -> None:
    shop = Shop(file, YAML)
    assert (await shop.only()).spec.parameters["properties"] == {
        "country": {"enum": ["no", "se", True], "default": "2020-01-01"}
    }
    assert str((await shop.send(country="no")).url) == "https://shop.test/things?country=no"


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "neither JSON nor YAML"), ("a: [", "neither JSON nor YAML"), ("7", "not of OpenAPI 3.0 or 3.1"),
     ("!!python/object/apply:os.getcwd []", "neither JSON nor YAML"),
     ('{"swagger": "2.0"}', "not of OpenAPI 3.0 or 3.1"), ('{"openapi": "3.10"}', "not of OpenAPI 3.0 or 3.1"),
     ('{"openapi": "3.0.0", "paths": []}', "not of OpenAPI 3.0 or 3.1"),
     ('{"openapi": "3.0.0", "paths": {"/a": 7}, "servers": [{"url": "http://a"}]}', "the path /a is not valid"),
     ('{"openapi": "3.0.0"}', "servers.0. of the document as base_url must be")],
)  # fmt: skip
async def test_documents_that_stop_the_start(file: Path, content: str, message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        await Shop(file, content).tools()


async def test_no_document(file: Path) -> None:
    shop = Shop(file, "", document=str(file.with_name("none.json")))
    with pytest.raises(AutoToolError, match=r"\[openapi.shop\]: the document cannot be read: No such file"):
        await shop.tools()
