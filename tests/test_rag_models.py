"""Rows of chat models and rerankers."""

import re

import pytest

from jina_rag import ModelNotFoundError, UnknownModelError, list_models
from jina_rag.model_files import is_on_this_machine
from jina_rag.models import DownloadableModel
from jina_rag.rag import make_reranker
from jina_rag.rag_models import list_all_models, list_chat_models, list_rerankers, parse_any_model_name

ROWS = (*list_chat_models(), *list_rerankers())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_checksums_belong_to_a_pinned_commit_and_restrictions_are_said(row: DownloadableModel) -> None:
    assert re.fullmatch("[0-9a-f]{40}", row.revision or "")
    assert row.file().filename.endswith(".gguf")
    assert re.fullmatch("[0-9a-f]{64}|", row.file().sha256 or "")
    assert bool(row.license_notice) == ("NC" in row.license)


def test_every_kind_is_found_by_its_names_and_no_name_means_two() -> None:
    rows = list_all_models()
    assert rows[: len(list_models())] == list_models()
    for row in rows:
        for name in row.names:
            assert parse_any_model_name(name.upper()) == (row, None)
    assert parse_any_model_name("qwen3.5-2b:q4_k_m")[1] == "Q4_K_M"
    with pytest.raises(UnknownModelError, match=r"jina-embeddings(.|\n)*Qwen3\.5-4B(.|\n)*bge-reranker"):
        parse_any_model_name("nosuch")
    with pytest.raises(UnknownModelError, match="no quantisation 'Q2_K'"):
        parse_any_model_name("Qwen3.5-2B:Q2_K")


def test_a_reranker_that_is_not_here_is_not_downloaded_unasked() -> None:
    row = list_rerankers()[0]
    if is_on_this_machine(row):
        pytest.skip(f"{row.name} is on this machine.")
    with pytest.raises(ModelNotFoundError, match=f"jina-rag download {row.name}"):
        make_reranker(row.name)
