"""Cross-encoders that say whether a text states a claim: exact against numpy, or refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jina_rag import BackendError, ModelLoadError
from jina_rag.backends.llama_cpp.entailment import INSTRUCTION, LlamaCppEntailment
from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
from jina_rag.testing import END_OF_TEXT, TINY_SHAPE, tiny_merges, tiny_vocabulary, tiny_weights, write_qwen3_gguf
from tests.backends import tiny_reranker
from tests.backends.tiny_reranker import CLS, SEP, SHAPE, tokens

CLAIM, TEXT = "mars looks red", "mars looks red because of iron rust."
LABELS = ("contradiction", "ENTAILMENT", "neutral")


def _written(path: Path, labels: tuple[str, ...]) -> LlamaCppEntailment:
    return LlamaCppEntailment(tiny_reranker.write(path, replace(SHAPE, labels=labels)))


def _entailed(pair: list[int]) -> float:
    shares = np.exp(tiny_reranker.outputs(pair, replace(SHAPE, labels=LABELS)))
    return float(shares[1] / shares.sum())


def test_a_classifier_gives_the_share_of_its_label_for_entailment(tmp_path: Path) -> None:
    model = _written(tmp_path / "nli.gguf", LABELS)
    claims = [CLAIM, "saturn has rings", "the clouds"]
    expected = [_entailed([CLS, *tokens(TEXT), SEP, *tokens(claim), SEP]) for claim in claims]  # the premise first
    assert model.probabilities([(claim, TEXT) for claim in claims]) == pytest.approx(expected, abs=1e-3)
    assert np.ptp(expected) > 0.01  # so that the tolerance means something
    assert model.probabilities([]) == []


def test_a_long_passage_is_cut_and_the_claim_is_not(tmp_path: Path) -> None:
    model = _written(tmp_path / "nli.gguf", LABELS)
    claim = tokens(CLAIM)
    kept = tokens("iron rust " * 100)[: SHAPE.context - len(claim) - 3]
    expected = _entailed([CLS, *kept, SEP, *claim, SEP])
    assert model.probabilities([(CLAIM, "iron rust " * 100)]) == pytest.approx([expected], abs=3e-3)
    with pytest.raises(BackendError, match="a claim has more"):
        model.probabilities([("iron rust " * 100, TEXT)])


@pytest.mark.parametrize("labels", [(), ("relevant",), ("relevant", "irrelevant"), ("yes", "no")])
def test_what_only_scores_relevance_is_refused(tmp_path: Path, labels: tuple[str, ...]) -> None:
    with pytest.raises(ModelLoadError, match="can't say whether a passage states a claim"):
        _written(tmp_path / "relevance.gguf", labels).probabilities([(CLAIM, TEXT)])


def test_a_yes_no_reranker_is_given_the_instruction_of_a_judge(tmp_path: Path) -> None:
    template = "<Instruct>: {}\n<Query>: {{query}}\n<Document>: {{document}}" + END_OF_TEXT

    def written(name: str, instruction: str) -> Path:
        vocabulary = tiny_vocabulary()
        weights = tiny_weights(vocabulary_size=len(vocabulary))
        weights["cls.output.weight"] = np.random.default_rng(1).standard_normal((2, TINY_SHAPE.width), dtype=np.float32)
        filled = template.format(instruction)
        return write_qwen3_gguf(tmp_path / name, TINY_SHAPE, weights, vocabulary, tiny_merges(), rerank_template=filled)

    theirs, ours = written("theirs.gguf", "retrieve what answers the query"), written("ours.gguf", INSTRUCTION)
    told = LlamaCppEntailment(theirs).probabilities([(CLAIM, TEXT), (CLAIM, "the clouds")])
    assert told == pytest.approx(list(LlamaCppReranker(ours).score(CLAIM, [TEXT, "the clouds"])), abs=1e-5)
    assert told != pytest.approx(list(LlamaCppReranker(theirs).score(CLAIM, [TEXT, "the clouds"])), abs=1e-3)
