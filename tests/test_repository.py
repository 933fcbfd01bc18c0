"""Files beside the code that say the same things as it: the container's, the registry's, the citation."""

import json
import re
from pathlib import Path

import yaml
from typer import Context
from typer.main import get_group

import jina_rag
from jina_rag.cli.app import app

ROOT = Path(__file__).parents[1]


def test_the_entry_for_the_registry_of_mcp_servers() -> None:
    server = json.loads((ROOT / "server.json").read_text())
    (package,) = server["packages"]
    assert server["version"] == package["version"] == jina_rag.__version__
    assert len(server["description"]) <= 100  # the registry's limit, which its schema has
    assert f"mcp-name: {server['name']} " in (ROOT / "README.md").read_text()  # how it knows the owner
    words = [
        word
        for argument in package["packageArguments"]
        for word in ([argument["name"], "folder"] if argument["type"] == "named" else [argument["value"]])
    ]
    group = get_group(app)
    with Context(group) as context:
        name, command, arguments = group.resolve_command(context, words)
        assert command is not None
        assert command.make_context(name, arguments).params["index"] == Path("folder")


def test_containers_are_closed_to_other_machines() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert {service["build"]["target"] for service in services.values() if "build" in service} <= set(stages)
    volumes = yaml.safe_load((ROOT / "compose.yaml").read_text())["volumes"]
    assert {volume.split(":")[0] for service in services.values() for volume in service["volumes"]} == set(volumes)


def test_one_version_for_all() -> None:
    files = [ROOT / "pyproject.toml", *ROOT.glob("*/*/pyproject.toml"), ROOT / "CITATION.cff"]
    versions = [re.search(r'^version(?: = |: )"?([^"\n]+)', file.read_text(), re.MULTILINE) for file in files]
    assert {match[1] for match in versions if match} == {jina_rag.__version__}
    assert len([match for match in versions if match]) == 5
