"""A server that speaks as much of the Hugging Face hub's protocol as an upload takes: repositories, large files, commits."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

TOKEN = "hf_of_ada"
USER = "ada"


@dataclass
class Repository:
    """What is in a repository, by paths, and who sees it."""

    visibility: str
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])


@dataclass
class Hub:
    """The server's URL and its repositories by their names."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict[str, Repository])
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """The large files that were sent, by their digests."""


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the server. It takes `TOKEN`, and makes repositories in the namespace `USER` alone."""
    hub = Hub()
    server = uvicorn.Server(uvicorn.Config(_app(hub), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    hub.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield hub
    server.should_exit = True
    thread.join()


def _authorised(request: Request) -> None:
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        raise HTTPException(401, "Invalid username or password.")


def _app(hub: Hub) -> FastAPI:
    app = FastAPI()

    @app.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, {"X-Error-Message": error.detail})

    @app.put("/objects/{digest}")
    async def put(digest: str, request: Request) -> None:
        hub.objects[digest] = await request.body()

    _add_repositories(app, hub)
    _add_uploads(app, hub)
    return app


def _add_repositories(app: FastAPI, hub: Hub) -> None:
    @app.post("/api/repos/create", dependencies=[Depends(_authorised)])
    def create(made: dict[str, Any]) -> JSONResponse:
        name = f"{made['organization'] or USER}/{made['name']}"
        if not name.startswith(f"{USER}/"):
            raise HTTPException(403, f"You don't have the rights to create a model under the namespace of {name}")
        there = name in hub.repositories
        hub.repositories.setdefault(name, Repository(made.get("visibility", "the default of its owner")))
        return JSONResponse({"url": f"{hub.url}/{name}", "name": name}, 409 if there else 200)

    @app.get("/api/models/{owner}/{name}")
    def describe(owner: str, name: str) -> dict[str, Any]:
        repository = hub.repositories.get(f"{owner}/{name}")
        if repository is None:
            raise HTTPException(404, "Repository not found")
        return {"id": f"{owner}/{name}", "private": repository.visibility == "private", "siblings": []}


def _add_uploads(app: FastAPI, hub: Hub) -> None:
    @app.post("/api/models/{owner}/{name}/preupload/main", dependencies=[Depends(_authorised)])
    def sort(wanted: dict[str, Any]) -> dict[str, Any]:
        modes = {file["path"]: "lfs" if file["path"].endswith(".safetensors") else "regular" for file in wanted["files"]}
        return {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}

    @app.post("/{owner}/{name}.git/info/lfs/objects/batch", dependencies=[Depends(_authorised)])
    async def place(request: Request) -> dict[str, Any]:
        asked = json.loads(await request.body())["objects"]
        places = {one["oid"]: {"upload": {"href": f"{hub.url}/objects/{one['oid']}"}} for one in asked}
        return {"transfer": "basic", "objects": [one | {"actions": places[one["oid"]]} for one in asked]}

    @app.post("/api/models/{owner}/{name}/commit/main", dependencies=[Depends(_authorised)])
    async def commit(owner: str, name: str, request: Request) -> dict[str, Any]:
        files = hub.repositories[f"{owner}/{name}"].files
        for line in (await request.body()).splitlines():
            files.update(_committed(json.loads(line), hub))
        return {"success": True, "commitUrl": f"{hub.url}/{owner}/{name}/commit/1", "commitOid": "1"}


def _committed(operation: dict[str, Any], hub: Hub) -> dict[str, bytes]:
    """Return the file that a line of a commit adds, the first of which has its message."""
    value = operation["value"]
    if operation["key"] == "file":
        return {value["path"]: base64.b64decode(value["content"])}
    if operation["key"] == "lfsFile":
        data = hub.objects[value["oid"]]
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (value["oid"], value["size"])
        return {value["path"]: data}
    assert operation["key"] == "header"
    return {}
