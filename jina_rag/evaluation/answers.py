"""Answers of a language model: citation recall and precision in ALCE's sense, answered or declined; highlights without.

Source: Gao, Yen, Yu and Chen, "Enabling Large Language Models to Generate Text with Citations" (ALCE, 2023), section 3:
a claim has recall 1 if the passages it cites, read together, state it. A citation is precise if its claim has recall 1
and the passage states the claim alone, or the others no longer do without it. Here the judge that a setting names
reads, and a claim that a cited passage quotes needs no judge.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.errors import EvaluationError, GenerationError
from jina_rag.evaluation.datasets import Dataset, Question
from jina_rag.evaluation.evaluating import has_passage
from jina_rag.evaluation.measures import Estimate, estimates
from jina_rag.evaluation.results import AnswerScore, AnswersResult
from jina_rag.rag.answering.pipeline import RagPipeline
from jina_rag.rag.answering.types import Answer
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.claims import ClaimChecker
from jina_rag.rag.citations.judges import Judge, JudgedPair

Supports = Callable[[str, Sequence[int]], bool]
"""Whether passages, by their numbers, state a claim together."""

_HIGHLIGHTS = {1: "the first highlight", 3: "the first 3 highlights"}


def evaluate_answers(
    dataset: Dataset, pipeline: RagPipeline, journal: Path, on_progress: BenchProgressCallback = lambda _: None
) -> AnswersResult:
    """Let a language model answer every question.

    Args:
        dataset: The questions; those without an expected passage should be declined.
        pipeline: With a generator. Without a judge only quotations count as support.
        journal: A file that keeps each answer as it comes: the same call goes on where an earlier one ended.
        on_progress: Called after each question.

    Raises:
        EvaluationError: the journal can't be written.
        JinaRagError: otherwise as `Retriever.retrieve`.
    """
    assert pipeline.generator is not None
    scores: dict[str, AnswerScore] = {}
    with _journal(journal) as (known, keep):
        for done, question in enumerate(dataset.questions, start=1):
            key = _key(question, pipeline)
            if key not in known:
                known[key] = _score(question, pipeline)
                keep(key, known[key])
            scores[question.id] = known[key]
            on_progress(BenchProgress("Answering", done, len(dataset.questions)))
    judge = pipeline.judge.name if pipeline.judge else ""
    measures = _measures(dataset.questions, scores)
    return AnswersResult(generator=pipeline.generator.name, judge=judge, measures=measures, scores=scores)


def evaluate_highlights(
    dataset: Dataset, pipeline: RagPipeline, on_progress: BenchProgressCallback = lambda _: None
) -> AnswersResult:
    """How often the sentences that are highlighted without a language model are in the right passage, and answer.

    Args:
        dataset: The questions; those without an expected passage, or without a phrase of it, count for nothing.
        pipeline: Without a generator.
        on_progress: Called after each question.

    Raises:
        JinaRagError: as `RagPipeline.ask`.
    """
    values: dict[str, dict[str, float]] = {}
    for done, question in enumerate(dataset.questions, start=1):
        expected = [one for one in question.expected if one.relevance > 0]
        shown = _highlighted(pipeline.ask(question.text)) if expected else []
        for n, name in _HIGHLIGHTS.items():
            found = [(one, text) for chunk, text in shown[:n] for one in expected if has_passage(chunk, one)]
            if expected:
                values.setdefault(f"right passage in {name}", {})[question.id] = bool(found)
            if any(one.phrase for one in expected):
                has_phrase = any(one.phrase and _one_line(one.phrase) in text for one, text in found)
                values.setdefault(f"expected phrase in {name}", {})[question.id] = has_phrase
        on_progress(BenchProgress("Finding the best sentences", done, len(dataset.questions)))
    measures = {name: estimates({name: of_questions})[name] for name, of_questions in values.items()}
    return AnswersResult(generator="", judge="", measures=measures, scores={})


def citation_scores(
    claims: Sequence[tuple[str, Sequence[int]]], supports: Supports
) -> tuple[float | None, float | None]:
    """Citation recall and precision of one answer, as ALCE defines them.

    Args:
        claims: What it says, each claim with the numbers of the passages that it cites.
        supports: Asked for a claim and the numbers of passages, of which there is at least one.

    Returns:
        Recall, None without a claim; and precision, None without a citation.
    """
    recalls: list[bool] = []
    precisions: list[bool] = []
    for claim, numbers in claims:
        is_supported = bool(numbers) and supports(claim, numbers)
        recalls.append(is_supported)
        for number in numbers:
            others = [other for other in numbers if other != number]
            precisions.append(is_supported and (not others or supports(claim, [number]) or not supports(claim, others)))
    return _mean(recalls), _mean(precisions)


def _highlighted(answer: Answer) -> list[tuple[Chunk, str]]:
    """The highlighted sentences, most similar first, each with its passage."""
    chunks = [(answer.passages[one.number - 1].chunk, one) for one in answer.highlights]
    return [(chunk, _one_line(chunk.text[one.start : one.end])) for chunk, one in chunks]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _score(question: Question, pipeline: RagPipeline) -> AnswerScore:
    try:
        answer = pipeline.ask(question.text)
        if not answer.answered:
            return AnswerScore(answered=False, text=answer.text)
        claims = [(claim.text, claim.numbers) for claim in answer.claims]
        recall, precision = citation_scores(claims, _support(answer, pipeline.judge))
    except GenerationError as error:  # one answer that fails does not end hours of others
        return AnswerScore(answered=False, error=str(error))
    phrases = [_one_line(one.phrase) for one in question.expected if one.phrase and one.relevance > 0]
    text = _one_line(answer.text).casefold()
    return AnswerScore(
        answered=True,
        text=answer.text,
        citation_recall=recall,
        citation_precision=precision,
        has_phrase=any(phrase.casefold() in text for phrase in phrases) if phrases else None,
    )


def _support(answer: Answer, judge: Judge | None) -> Supports:
    checker = ClaimChecker(answer.passages, answer.question)

    def supports(claim: str, numbers: Sequence[int]) -> bool:
        known = [number for number in numbers if 1 <= number <= len(answer.passages)]
        if checker.quoting(claim, known):
            return True
        if not (judge and known):
            return False
        passages = [answer.passages[number - 1] for number in known]
        together = "\n\n".join(
            part for one in passages for part in (one.chunk.title, one.chunk.heading, one.text_with_context) if part
        )
        return judge.judge([JudgedPair(claim, together, answer.question)])[0] >= judge.threshold

    return supports


def _measures(questions: Sequence[Question], scores: dict[str, AnswerScore]) -> dict[str, Estimate]:
    judged = [(question, scores[question.id]) for question in questions if not scores[question.id].error]
    values: dict[str, list[float | bool | None]] = {
        "answered, of questions that the documents answer": [s.answered for q, s in judged if q.is_answerable],
        "declined, of questions that they don't": [not s.answered for q, s in judged if not q.is_answerable],
        "citation recall": [score.citation_recall for _, score in judged],
        "citation precision": [score.citation_precision for _, score in judged],
        "answers with the expected phrase": [score.has_phrase for _, score in judged],
    }
    found: dict[str, Estimate] = {}
    for name, each in values.items():
        if there := {str(place): float(value) for place, value in enumerate(each) if value is not None}:
            found |= estimates({name: there})
    return found


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _key(question: Question, pipeline: RagPipeline) -> str:
    """What an answer depends on: the question, the models, the options and the passages that are found now."""
    found = pipeline.retriever.retrieve(question.text, pipeline.options)
    parts = [
        question.text,
        repr(question.expected),
        pipeline.generator.name if pipeline.generator else "",
        pipeline.judge.name if pipeline.judge else "",
        repr(pipeline.options),
        *(result.text_with_context for result in found),
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def _journal(path: Path) -> Iterator[tuple[dict[str, AnswerScore], Callable[[str, AnswerScore], None]]]:
    """What a file of JSON Lines has, and what adds a line to it. A line cut short counts for nothing."""
    known: dict[str, AnswerScore] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
                known[str(row["key"])] = AnswerScore(**row["score"])
            except (ValueError, KeyError, TypeError):
                continue
        with path.open("a", encoding="utf-8") as file:

            def keep(key: str, score: AnswerScore) -> None:
                if not score.error:
                    file.write(json.dumps({"key": key, "score": asdict(score)}) + "\n")
                    file.flush()

            yield known, keep
    except OSError as error:
        raise EvaluationError(
            f"{path} can't be written ({error}). Give yourself the right to, or remove it."
        ) from error
