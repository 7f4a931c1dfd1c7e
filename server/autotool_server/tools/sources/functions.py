"""Python functions as server tools: the decorator `@tool`, and the `[python.NAME]` entries of the tools file.

An asynchronous function runs on the server's event loop. Any other runs in a worker process, which is killed when the call
is cancelled or times out, so that a function that hangs does end. The worker imports the function by its module and name, so
it must be at the top level of an importable module. Processes that such a function starts are not ended with it.
"""

import inspect
import pickle
import signal
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
from autotool_server.tools.base import Approval, OversizeError, Policy, ToolError, ToolSpec, TransientError
from autotool_server.tools.entry import Entry, tool_name
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.signature import Signature, read_signature
from autotool_server.tools.sources.worker import detached_stdio

MAX_WORKERS = 16
"""The limit of worker processes of one entry. They are started when needed and kept."""

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
_ATTRIBUTE = "__autotool_tool__"


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """The options of `@tool`, kept as an attribute of the function."""

    name: str
    read_only: bool = False
    idempotent: bool = False
    repeatable: bool = False
    approval: Approval = "never"
    timeout: float | None = None
    max_result_bytes: int | None = None

    def policy(self, entry: Entry) -> Policy:
        """Return the entry's policy, with what the function sets itself."""
        policy = entry.policy(
            self.name,
            read_only=self.read_only,
            idempotent=self.idempotent,
            repeatable=self.repeatable,
            approval=self.approval,
        )
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
    repeatable: bool = False,
    approval: Approval = "never",
    timeout: float | None = None,
    max_result_bytes: int | None = None,
) -> Callable[[F], F]: ...
def tool(function: Function | None = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a typed function, synchronous or asynchronous, a server tool. The function itself does not change.

    The JSON schema of its arguments comes from its annotations, with what `Annotated[..., Field(...)]` adds; the description
    from its docstring, and that of each argument from a Google-style `Args:` section. `read_only`: the function changes
    nothing; `idempotent`: a second call with the same arguments changes nothing more; `repeatable`: the same call is made
    again when the model repeats it within a request; `approval`: when the user must approve a call (`never`, `first` in a
    conversation, `always`); `timeout`: seconds; `max_result_bytes`: bytes of UTF-8.

    Raises AutoToolError, which names function and parameter, if the function cannot be called with JSON arguments.
    """

    def mark(function: F) -> F:
        read_signature(function)
        setattr(function, _ATTRIBUTE, ToolOptions(name or function.__name__, **options))
        return function

    return mark if function is None else mark(function)


class FunctionsEntry(Entry):
    """A table `[python.NAME]` of the tools file: every function of a module that is marked with `@tool`."""

    module: str
    """The module's name, as for `import`."""
    folder: Path = Path()
    """A folder that is searched for the module after the installed packages."""

    def relative_to(self, folder: Path) -> "FunctionsEntry":
        """Return the entry with `folder` resolved against the folder of the tools file."""
        return self.model_copy(update={"folder": folder / self.folder})


class FunctionTool:
    """A tool that calls one function."""

    def __init__(self, namespace: str, function: Function, entry: Entry, limiter: CapacityLimiter) -> None:
        options: ToolOptions = getattr(function, _ATTRIBUTE, None) or ToolOptions(function.__name__)
        signature = read_signature(function)
        name = tool_name(f"[python.{namespace}] {function.__qualname__}", namespace, options.name)
        policy, source = options.policy(entry), f"python.{namespace}"
        self.spec = ToolSpec(name, signature.description, signature.parameters, policy, source=source)
        self._function = function
        self._signature = signature
        self._limiter = limiter
        if not inspect.iscoroutinefunction(function):
            _check_importable(function)

    async def call(self, arguments: Mapping[str, Any]) -> str | bytes:
        """Return the result: text and bytes unchanged, anything else as JSON.

        Raises ToolError if an argument does not match its annotation, and whatever the function raises.
        """
        limit = self.spec.policy.max_result_bytes
        if not inspect.iscoroutinefunction(self._function):
            task = (self._function, dict(arguments), limit)
            try:
                return await to_process.run_sync(_run_in_worker, *task, cancellable=True, limiter=self._limiter)
            except BrokenWorkerProcess as error:
                # It may have died before this call: processes are kept between calls.
                raise TransientError("The tool's process has died.") from error
        values = _validate(self._signature, arguments)
        try:
            return _serialize(await self._function(**values), limit)
        except SystemExit as error:
            raise _exit_error(error) from error


class FunctionsSource:
    """The source of the marked functions of a module, or of the functions given."""

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
        functions = self._functions or _marked_functions(self._namespace, self._entry)
        limiter = CapacityLimiter(MAX_WORKERS)
        self._tools = tuple(FunctionTool(self._namespace, function, self._entry, limiter) for function in functions)
        self._entry.check_tools(f"[python.{self._namespace}]", self._namespace, [tool.spec for tool in self._tools])

    async def stop(self) -> None:
        """Do nothing: anyio ends the worker processes with the event loop."""

    @property
    def tools(self) -> Sequence[FunctionTool]:
        return self._tools

    def accept(self, name: str) -> None:
        """Do nothing: functions do not change, so none is ever disabled."""


def functions_source(namespace: str, functions: Iterable[Function], **limits: Any) -> FunctionsSource:
    """Return a source of functions, marked or not, without a tools file. `limits`: the fields of an `Entry`."""
    return FunctionsSource(namespace, FunctionsEntry(module="", **limits), functions=functions)


def _marked_functions(namespace: str, entry: FunctionsEntry) -> list[Function]:
    folder = str(entry.folder.resolve())
    if not entry.folder.is_dir():
        raise AutoToolError(f"[python.{namespace}] folder: {folder} is no folder.")
    if folder not in sys.path:
        # Appended last, so that a file there hides no installed package. Worker processes get the same path.
        sys.path.append(folder)
    try:
        module = import_module(entry.module)
    except AutoToolError as error:
        raise AutoToolError(f"[python.{namespace}] module: {entry.module}: {error}") from error
    except Exception as error:
        raise AutoToolError(
            f"[python.{namespace}] module: importing {entry.module} failed ({type(error).__name__}: {error}). It is looked for "
            f"among the installed packages and in {folder}."
        ) from error
    marked = {id(value): value for value in vars(module).values() if inspect.isfunction(value) and hasattr(value, _ATTRIBUTE)}
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
    """Run a call in the worker process. Only JSON and text pass between the processes."""
    # A terminal sends Ctrl-C to this process too; the server ends it when its requests have ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    values = _validate(read_signature(function), arguments)
    try:
        with detached_stdio():
            return _serialize(function(**values), limit)
    except (SystemExit, KeyboardInterrupt) as error:
        # These would end the server, where anyio raises the error again.
        raise _exit_error(error) from error
    except ToolError:
        raise
    except Exception as error:
        # A note passes between processes, a traceback does not.
        error.add_note(traceback.format_exc())
        raise


def _exit_error(error: BaseException) -> RuntimeError:
    return RuntimeError(f"the function raised {type(error).__name__}")


def _validate(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return signature.adapter.validate_json(to_json(arguments))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)[:5]
        texts = (f"{'.'.join(str(part) for part in detail['loc'])[:64]}: {detail['msg']}" for detail in details)
        # The cause is left out, because it repeats the values.
        raise ToolError(f"The arguments do not fit: {'; '.join(texts)}.") from None


def _serialize(result: Any, limit: int) -> str | bytes:
    text = result if isinstance(result, str | bytes) else to_json(result)
    size = len(text.encode(errors="replace") if isinstance(text, str) else text)
    if size > limit:
        raise OversizeError(limit)
    return text
