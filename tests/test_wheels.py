"""What people install: each wheel holds its own package, asks for what it needs, and works without this checkout."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import jina_rag

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A distribution of this repository, as it ought to be."""

    name: str
    folder: str
    module: str
    requires: frozenset[str]
    extras: frozenset[str]
    imports: str

    @property
    def path(self) -> str:
        return self.module.replace(".", "/") + "/"


PACKAGES = (
    Package(
        name="jina-rag",
        folder=".",
        module="jina_rag",
        requires=frozenset({"gguf", "huggingface-hub", "llama-cpp-python", "numpy", "platformdirs", "rich", "typer"}),
        extras=frozenset(
            [
                "chroma",
                "elastic",
                "evaluation",
                "http",
                "lancedb",
                "mcp",
                "ocr",
                "office",
                "onnx",
                "rag",
                "ray",
                "sentence-transformers",
                "server",
            ]
        ),
        imports="from jina_rag import Embedder, list_models",
    ),
    Package(
        name="langchain-jina-rag",
        folder="integrations/langchain",
        module="langchain_jina_rag",
        requires=frozenset({"jina-rag", "langchain-core", "tqdm"}),
        extras=frozenset({"chroma", "rag"}),
        imports="from langchain_jina_rag import JinaRagEmbeddings as Door; Door(model='minilm')",
    ),
    Package(
        name="llama-index-embeddings-jina-rag",
        folder="integrations/llama_index",
        module="llama_index.embeddings.jina_rag",
        requires=frozenset({"jina-rag", "llama-index-core"}),
        extras=frozenset({"chroma", "rag"}),
        imports="from llama_index.embeddings.jina_rag import JinaRagEmbedding as Door; Door(model_name='minilm')",
    ),
)
each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every wheel, built in a copy of the source tree, so that nothing is left behind in the real one."""
    work = tmp_path_factory.mktemp("wheels")
    shutil.copytree(ROOT, work / "source", ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "dist"))
    for package in PACKAGES:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work / package.name)]
        subprocess.run(build, cwd=work / "source" / package.folder, check=True, capture_output=True)
    return {package.name: next((work / package.name).glob("*.whl")) for package in PACKAGES}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each wheel in a folder of its own, put there by plain pip."""
    folders = {name: tmp_path_factory.mktemp(name) for name in wheels}
    for name, wheel in wheels.items():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--no-index", "--target", folders[name], wheel], check=True)
    return folders


@each_package
def test_it_holds_its_own_files_alone(wheels: dict[str, Path], package: Package) -> None:
    with ZipFile(wheels[package.name]) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    # For LlamaIndex this also says that no __init__.py lies above the leaf, which would hide every other integration.
    assert [name for name in names if not name.startswith(package.path)] == []
    assert {f"{package.path}__init__.py", f"{package.path}py.typed"} <= set(names)
    source = ROOT / package.folder
    assert {source / name for name in names if name.endswith(".py")} == set((source / package.path).rglob("*.py"))


@each_package
def test_its_metadata(wheels: dict[str, Path], package: Package) -> None:
    metadata = _distribution(wheels[package.name]).metadata
    assert metadata["Name"] == package.name
    assert metadata["Version"] == jina_rag.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert frozenset(metadata.get_all("Provides-Extra", [])) == package.extras


@each_package
def test_links_of_its_description_lead_somewhere_on_pypi(wheels: dict[str, Path], package: Package) -> None:
    description = _distribution(wheels[package.name]).metadata["Description"]
    assert re.findall(r"\]\((?!https://|#)[^)]*\)", description) == []


@each_package
def test_it_asks_for_no_more_than_it_needs(wheels: dict[str, Path], package: Package) -> None:
    requirements = [Requirement(line) for line in _distribution(wheels[package.name]).requires or []]
    always = {item.name: item for item in requirements if item.marker is None}
    assert always.keys() == package.requires
    assert {str(item.marker) for item in requirements if item.marker} == {f'extra == "{e}"' for e in package.extras}
    if core := always.get("jina-rag"):
        assert not core.extras
        assert jina_rag.__version__ in core.specifier


@each_package
def test_it_works_where_it_is_installed(installed: dict[str, Path], package: Package) -> None:
    code = f"""
import sys, json
sys.path[:0] = {[str(installed[package.name]), str(installed["jina-rag"])]!r}
sys.path.append({sysconfig.get_path("purelib")!r})
{package.imports}
import jina_rag, {package.module}
print(json.dumps([sys.modules[{package.module!r}].__file__, jina_rag.__file__, jina_rag.__version__]))
"""
    # -S leaves out the .pth files, and with them this checkout; -I leaves out the current folder and PYTHONPATH.
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    module_file, core_file, version = json.loads(run.stdout)
    assert Path(module_file) == installed[package.name] / package.path / "__init__.py"
    assert Path(core_file) == installed["jina-rag"] / "jina_rag" / "__init__.py"
    assert version == jina_rag.__version__


def test_every_pin_has_a_checksum() -> None:
    """uv compares a file only with the checksums that it is given."""
    pins = (ROOT / "constraints.txt").read_text().replace("\\\n", "").splitlines()
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []
    assert len(pins) > 200


def _distribution(wheel: Path) -> PathDistribution:
    name, version, *_ = wheel.name.split("-")
    return PathDistribution(ZipPath(wheel, f"{name}-{version}.dist-info/"))
