"""What `autotool serve` says of a model that is not there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from autotool_core.errors import AutoToolError
from autotool_server.launch import model_source


@contextmanager
def hub(answers: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """The URL of a hub. `answers`: status and error code for the file at a path; any other file is not there."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            status, code = answers.get(self.path, (404, "EntryNotFound"))
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.end_headers()

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, an empty cache, and an empty folder to be in."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)


def refusal(model: str, engine: model_source.EngineName = "transformers", **arguments: str) -> str:
    with pytest.raises(AutoToolError) as error:
        model_source.check(model, engine, arguments)
    return str(error.value)


def make(folder: Path, *files: str) -> str:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    folder.mkdir(exist_ok=True)
    return str(folder)


def test_four_faults_have_four_sentences(tmp_path: Path) -> None:
    folder = make(tmp_path / "empty")
    sentences = [refusal("/no/such/folder"), refusal(folder), refusal("Qwen/Qwen3-8B"), refusal("qwen3:8b")]
    assert sentences[0].startswith("There is no folder /no/such/folder. Give --model")
    assert sentences[1].startswith(f"The folder {folder} has no model: config.json is missing. Give --model")
    assert "the hub http://127.0.0.1:9 cannot be reached" in sentences[2]
    assert "HF_ENDPOINT" in sentences[2]
    assert sentences[3].startswith("qwen3:8b has a colon")


@pytest.mark.parametrize("model", ["./here", "~/models/qwen", "a/b/c", "..\\up", "/a:b"])
def test_what_can_only_be_a_path_is_a_missing_folder(model: str) -> None:
    assert refusal(model).startswith(f"There is no folder {model}.")


@pytest.mark.parametrize("model", ["qwen3:8b", "hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M", "qwen:latest"])
def test_names_of_ollama_are_known_as_such(model: str) -> None:
    assert "Ollama" in refusal(model)


def test_a_mode_is_no_part_of_a_name() -> None:
    text = refusal("Qwen/Qwen3-8B:short")
    assert "Give --model Qwen/Qwen3-8B;" in text
    assert "--default-mode short" in text


def test_a_folder_near_the_model_is_named(tmp_path: Path) -> None:
    make(tmp_path / "run", "checkpoint-500/config.json")
    assert f"Did you mean {tmp_path / 'run' / 'checkpoint-500'}?" in refusal(str(tmp_path / "run"))
    assert "LoRA" in refusal(make(tmp_path / "lora", "adapter_config.json"))
    assert "no weights" in refusal(make(tmp_path / "config", "config.json"))
    assert "is a file" in refusal(make(tmp_path / "x", "model.safetensors") + "/model.safetensors")


def test_what_an_engine_can_serve_passes(tmp_path: Path) -> None:
    model_source.check(make(tmp_path / "whole", "config.json", "model-00001-of-00002.safetensors"), "transformers", {})
    model_source.check(make(tmp_path / "mistral", "params.json", "consolidated.safetensors"), "vllm", {})
    model_source.check(make(tmp_path / "dummy", "config.json"), "vllm", {"load_format": "dummy"})
    model_source.check(make(tmp_path / "tokenizer", "tokenizer.json"), "remote", {})
    make(tmp_path, "model.gguf")
    for model in ("model.gguf", "s3://bucket/model", "unsloth/Qwen3-8B-GGUF:Q4_K_M"):
        model_source.check(model, "vllm", {})


def test_a_remote_model_needs_only_a_tokenizer(tmp_path: Path) -> None:
    assert "no tokenizer" in refusal(make(tmp_path / "weights", "config.json"), "remote")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, "RepoNotFound"), "has no model a/b that you may read"),
        ((404, ""), "has no model a/b"),
        ((403, "GatedRepo"), "accept its terms"),
        ((404, "RevisionNotFound"), "no revision main"),
        ((404, "EntryNotFound"), "no config.json"),
    ],
)
def test_what_the_hub_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], said: str) -> None:
    with hub({"/a/b/resolve/main/config.json": answer}) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        assert said in refusal("a/b")


@pytest.mark.parametrize("answer", [(200, ""), (500, ""), (429, "")])
def test_a_model_that_may_be_there_passes(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]) -> None:
    with hub({"/a/b/resolve/v2/config.json": answer}) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        model_source.check("a/b", "transformers", {"revision": "v2"})


def test_a_cached_model_needs_no_hub(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    make(repository / "snapshots" / "1", "config.json")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1")
    model_source.check("a/b", "vllm", {"download_dir": str(tmp_path)})
    assert "cannot be reached" in refusal("a/c", "vllm", download_dir=str(tmp_path))


def test_a_hub_that_is_switched_off_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal("a/b")


def test_what_is_no_name_is_not_asked_for() -> None:
    assert "neither a folder nor a name" in refusal("not a name")
