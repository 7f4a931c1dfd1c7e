"""Server tools that are Python functions: `@tool`, and the `[python.NAME]` entries of the tools file.

An asynchronous function runs on the server's event loop. Any other runs in a worker process that is killed when the call
is cancelled or times out, so that one that hangs really ends; it is found there by its module and name and must be at the
top level of a module that can be imported. A process that such a function starts itself is its own to end.
"""

import inspect
import pickle
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, overload

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process
from pydantic import ValidationError
from pydantic_core import to_json

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, Policy, ToolError, ToolSpec, TransientError
from autotool_server.tools.entry import Entry, tool_name
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.signature import Signature, read_signature
from autotool_server.tools.sources.worker import quiet_pipes

WORKERS = 16
"""Most worker processes of one entry. They are started when needed and kept."""

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
_MARK = "__autotool_tool__"


@dataclass(frozen=True, slots=True)
class Mark:
    """What `@tool` says of a function."""

    name: str
    read_only: bool = False
    idempotent: bool = False
    timeout: float | None = None
    max_result_bytes: int | None = None

    def policy(self, entry: Entry) -> Policy:
        """The entry's limits, save those that the function sets itself."""
        policy = entry.policy(self.name, read_only=self.read_only, idempotent=self.idempotent)
        return replace(
            policy,
            timeout=self.timeout or policy.timeout,
            max_result_bytes=self.max_result_bytes or policy.max_result_bytes,
        )


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *,
    name: str | None = None,
    read_only: bool = False,
    idempotent: bool = False,
    timeout: float | None = None,
    max_result_bytes: int | None = None,
) -> Callable[[F], F]: ...
def tool(function: Function | None = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a typed function, synchronous or not, a server tool; the function itself stays as it is.

    The JSON schema of its arguments comes from its annotations, with what `Annotated[..., Field(...)]` adds; the description
    from its docstring, and that of each argument from a Google-style `Args:` section. `read_only`: it changes nothing;
    `idempotent`: it may be called twice; `timeout`: seconds; `max_result_bytes`: bytes of UTF-8.

    Raises AutoToolError, naming function and parameter, where the signature cannot be called with JSON.
    """

    def mark(function: F) -> F:
        read_signature(function)
        setattr(function, _MARK, Mark(name or function.__name__, **options))
        return function

    return mark if function is None else mark(function)


class FunctionsEntry(Entry):
    """`[python.NAME]`: every `@tool` of a module."""

    module: str
    """As `import` names it."""
    folder: Path = Path()
    """Where the module may be found besides the installed packages."""

    def beside(self, folder: Path) -> "FunctionsEntry":
        """The entry with its folder as it is seen from that of the tools file."""
        return self.model_copy(update={"folder": folder / self.folder})


class FunctionTool:
    """One function."""

    def __init__(self, namespace: str, function: Function, entry: Entry, limiter: CapacityLimiter) -> None:
        mark: Mark = getattr(function, _MARK, None) or Mark(function.__name__)
        signature = read_signature(function)
        name = tool_name(f"[python.{namespace}] {function.__qualname__}", namespace, mark.name)
        self.spec = ToolSpec(name, signature.description, signature.parameters, mark.policy(entry))
        self._function = function
        self._signature = signature
        self._limiter = limiter
        if not inspect.iscoroutinefunction(function):
            _check_importable(function)

    async def call(self, arguments: Mapping[str, Any]) -> str | bytes:
        """The result: text and bytes as they are, None as `null`, anything else as JSON.

        Raises ToolError where an argument does not fit its annotation, and whatever the function raises.
        """
        limit = self.spec.policy.max_result_bytes
        if not inspect.iscoroutinefunction(self._function):
            work = (self._function, dict(arguments), limit)
            try:
                return await to_process.run_sync(_run_in_worker, *work, cancellable=True, limiter=self._limiter)
            except BrokenWorkerProcess as error:
                # While it ran, or before: processes are kept between calls.
                raise TransientError("The tool's process has died.") from error
        values = _values(self._signature, arguments)
        try:
            return _render(await self._function(**values), limit)
        except SystemExit as error:
            raise _not_allowed(error) from error


class FunctionsSource:
    """The functions of a module, or those given."""

    entry_class = FunctionsEntry

    def __init__(
        self, namespace: str, entry: FunctionsEntry, secrets: Secrets | None = None, *, functions: Iterable[Function] = ()
    ) -> None:
        del secrets  # functions read the environment themselves
        self._namespace = namespace
        self._entry = entry
        self._functions = tuple(functions)
        self._tools: tuple[FunctionTool, ...] = ()

    async def start(self) -> None:
        functions = self._functions or _marked_in(self._namespace, self._entry)
        limiter = CapacityLimiter(WORKERS)
        self._tools = tuple(FunctionTool(self._namespace, function, self._entry, limiter) for function in functions)
        self._entry.check(f"[python.{self._namespace}]", self._namespace, [tool.spec for tool in self._tools])

    async def stop(self) -> None:
        """Nothing is left to end: anyio ends the worker processes with the event loop."""

    @property
    def tools(self) -> Sequence[FunctionTool]:
        return self._tools

    def accept(self, name: str) -> None:
        """Functions do not change."""


def functions_source(namespace: str, functions: Iterable[Function], **limits: Any) -> FunctionsSource:
    """Functions, marked or not, as a source of tools without a tools file; `limits` are those of an entry."""
    return FunctionsSource(namespace, FunctionsEntry(module="", **limits), functions=functions)


def _marked_in(namespace: str, entry: FunctionsEntry) -> list[Function]:
    folder = str(entry.folder.resolve())
    if not entry.folder.is_dir():
        raise AutoToolError(f"[python.{namespace}] folder: {folder} is no folder.")
    if folder not in sys.path:
        # Last, so that a file there hides no installed package. Worker processes are given the same path.
        sys.path.append(folder)
    try:
        module = import_module(entry.module)
    except Exception as error:
        raise AutoToolError(
            f"[python.{namespace}] module: importing {entry.module} failed ({type(error).__name__}: {error}). It is looked for "
            f"among the installed packages and in {folder}."
        ) from error
    marked = {id(value): value for value in vars(module).values() if inspect.isfunction(value) and hasattr(value, _MARK)}
    if not marked:
        raise AutoToolError(f"[python.{namespace}] module: {entry.module} has no function marked with @tool.")
    return list(marked.values())


def _check_importable(function: Function) -> None:
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError) as error:
        raise AutoToolError(
            f"{function.__qualname__} cannot be a tool: a synchronous function runs in a worker process and must be at "
            "the top level of a module. Move it there, or make it async."
        ) from error


def _run_in_worker(function: Function, arguments: dict[str, Any], limit: int) -> str | bytes:
    """The whole call, in the worker process: only JSON and text cross between the two."""
    values = _values(read_signature(function), arguments)
    try:
        with quiet_pipes():
            return _render(function(**values), limit)
    except (SystemExit, KeyboardInterrupt) as error:
        # Raised again in the server, these would end it.
        raise _not_allowed(error) from error
    except ToolError:
        raise
    except Exception as error:
        # A traceback does not cross between processes; a note does.
        error.add_note(traceback.format_exc())
        raise


def _not_allowed(error: BaseException) -> RuntimeError:
    return RuntimeError(f"the function raised {type(error).__name__}")


def _values(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return signature.adapter.validate_json(to_json(arguments))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:5]
        wrong = (f"{'.'.join(str(part) for part in one['loc'])[:64]}: {one['msg']}" for one in found)
        # Without the cause, which repeats the values.
        raise ToolError(f"The arguments do not fit: {'; '.join(wrong)}.") from None


def _render(result: Any, limit: int) -> str | bytes:
    text = result if isinstance(result, str | bytes) else to_json(result)
    size = len(text.encode(errors="replace") if isinstance(text, str) else text)
    if size > limit:
        raise OversizeError(limit)
    return text
