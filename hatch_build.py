"""The description on PyPI: the README, whose links lead to the repository, since no files stand beside it there."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

REPOSITORY = "github.com/jina-rag/jina_rag"


class Description(MetadataHookInterface):
    """Hatchling's hook for `dynamic = ["readme"]`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the description."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        text = re.sub(r"!\[([^]]*)\]\((?!https:)", rf"![\1](https://{REPOSITORY}/raw/main/", text)
        text = re.sub(r"\]\((?!https:|#)", f"](https://{REPOSITORY}/blob/main/", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
