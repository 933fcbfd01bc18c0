import asyncio
import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_rag import (
    BackendError,
    Embedder,
    InputTooLongError,
    InvalidDimensionsError,
    InvalidTextError,
    JinaRagError,
    ModelSpec,
    UnknownModelError,
)
from jina_rag.backends.base import BackendResult, ProgressCallback, limit_tokens
from jina_rag.testing import FAKE_SPEC, TINY_SPEC, FakeBackend, fake_embedder, random_texts

BARE_SPEC = ModelSpec(name="bare", dimensions=64, max_input_tokens=512, pooling="mean", license="Apache-2.0")


def test_shapes_and_unit_length(any_embedder: Embedder) -> None:
    query = any_embedder.embed_query("Who kept the diary?")
    documents = any_embedder.embed_documents(["one", "two", "three"])
    assert query.shape == (any_embedder.dimensions,)
    assert documents.shape == (3, any_embedder.dimensions)
    assert str(query.dtype) == str(documents.dtype) == "float32"
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(any_embedder: Embedder) -> None:
    result = any_embedder.embed([], "document")
    assert result.vectors.shape == (0, any_embedder.dimensions)
    assert (result.token_counts, result.truncated) == ((), ())


def test_order_and_duplicates_are_kept(any_embedder: Embedder) -> None:
    texts = ["a short one", "a much longer text than the one before it, with more words", "a short one", "x"]
    vectors = any_embedder.embed_documents(texts)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    for text, vector in zip(texts, vectors, strict=True):
        assert any_embedder.similarity(any_embedder.embed_documents([text])[0], vector) > 0.9999


def test_a_text_is_the_same_alone_and_in_a_batch(any_embedder: Embedder) -> None:
    texts = random_texts(64, words=60)
    together = any_embedder.embed_documents(texts)
    alone = np.stack([any_embedder.embed_documents([text])[0] for text in texts])
    assert np.sum(together * alone, axis=1).min() >= 0.9999


class HeldBackend(FakeBackend):
    """Holds up calls of several texts, text by text, until it may go on with one."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Semaphore(0)
        self.n_held = 0
        self.n_done = 0

    def embed(
        self, texts: Sequence[str], *, on_progress: ProgressCallback | None = None, **options: Any
    ) -> BackendResult:
        if len(texts) > 1:
            self.n_held += 1
            for _ in texts:
                assert self.go_on.acquire(timeout=20)
                self.n_done += 1
                if on_progress:
                    on_progress(1)
        return super().embed(texts, **options)


async def test_an_async_question_passes_large_calls_and_cancelled_ones_leave() -> None:
    backend = HeldBackend()
    embedder = Embedder(backend, FAKE_SPEC)
    large = ["word " * 200] * 100
    tasks = [asyncio.create_task(embedder.aembed_documents(large)) for _ in range(12)]
    while backend.n_held < 8:
        await asyncio.sleep(0.01)
    for _ in range(20):
        assert (await embedder.aembed_query("Who kept the diary?")).shape == (64,)
    assert backend.n_done == 0
    for task in tasks:
        task.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    backend.go_on.release(12 * 100)
    await embedder.aembed_documents(["x" * 5000])  # its thread is one that a cancelled call has left
    assert backend.n_done <= 8


def test_what_a_progress_callback_raises_ends_the_call(any_embedder: Embedder) -> None:
    def stop(_: int) -> None:
        steps.append(1)
        raise TimeoutError("enough")

    steps: list[int] = []
    with pytest.raises(TimeoutError, match="enough"):
        any_embedder.embed(random_texts(100, words=60), "document", on_progress=stop)
    assert len(steps) == 1
    assert any_embedder.embed_query("still there").any()


def test_queries_and_documents_get_their_own_prompt() -> None:
    embedder = fake_embedder()
    bare = Embedder(FakeBackend(), BARE_SPEC)
    np.testing.assert_array_equal(embedder.embed_query("x"), bare.embed_query("Query: x"))
    np.testing.assert_array_equal(embedder.embed_documents([" x"])[0], bare.embed_documents(["Document:  x"])[0])


def test_texts_reach_the_engine_unaltered() -> None:
    class Recorder(FakeBackend):
        def embed(self, texts: Sequence[str], **options: Any) -> BackendResult:
            seen.extend(texts)
            return super().embed(texts, **options)

    seen: list[str] = []
    texts = ["  spaces  ", "\n\nlines\n", "\x00", "ﬁ", "", "\u202eright to left"]
    Embedder(Recorder(), FAKE_SPEC).embed_documents(texts)
    assert seen == [f"Document: {text}" for text in texts]


def test_truncated_dimensions_are_cut_then_normalised(any_embedder: Embedder) -> None:
    texts = random_texts(8, words=20)
    full = any_embedder.embed_documents(texts)
    for dimensions in any_embedder.spec.matryoshka_dimensions:
        cut = Embedder(any_embedder.backend, any_embedder.spec, dimensions=dimensions).embed_documents(texts)
        expected = full[:, :dimensions] / np.linalg.norm(full[:, :dimensions], axis=1, keepdims=True)
        np.testing.assert_allclose(cut, expected, atol=1e-5)


def test_untrained_dimensions_are_refused() -> None:
    with pytest.raises(InvalidDimensionsError, match="16, 32, 64"):
        fake_embedder(48)
    with pytest.raises(InvalidDimensionsError, match="32, 64, 128"):
        Embedder.from_pretrained("jina-v5-small", dimensions=100)  # before anything is fetched


def test_long_texts_are_refused_by_position_and_numbers(any_embedder: Embedder) -> None:
    limit = any_embedder.max_input_tokens
    with pytest.raises(InputTooLongError, match=rf"Text 1 has [\d,]+ tokens and the model reads {limit:,}") as caught:
        any_embedder.embed_documents(["short", "word " * (limit + 5)])
    assert caught.value.index == 1
    assert caught.value.token_count > caught.value.max_tokens == limit
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.token_count) == (str(caught.value), caught.value.token_count)


def test_long_texts_are_cut_on_request_and_said_to_be(any_embedder: Embedder) -> None:
    embedder = Embedder(any_embedder.backend, any_embedder.spec, truncate=True)
    result = embedder.embed(["short", "word " * (embedder.max_input_tokens + 5)], "document")
    assert result.truncated == (1,)
    assert result.token_counts[1] == embedder.max_input_tokens
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-5)


@given(st.lists(st.lists(st.integers(0, 99), max_size=30), max_size=5), st.integers(5, 20), st.integers(0, 3))
def test_a_cut_keeps_the_beginning_and_the_closing_tokens(
    tokens: list[list[int]], max_tokens: int, n_suffix_tokens: int
) -> None:
    limited, cut = limit_tokens(tokens, max_tokens=max_tokens, n_suffix_tokens=n_suffix_tokens, truncate=True)
    for index, (before, after) in enumerate(zip(tokens, limited, strict=True)):
        assert (index in cut) == (len(before) > max_tokens)
        if index not in cut:
            assert after == before
        else:
            assert len(after) == max_tokens
            assert after[: max_tokens - n_suffix_tokens] == before[: max_tokens - n_suffix_tokens]
            assert after[max_tokens - n_suffix_tokens :] == before[len(before) - n_suffix_tokens :]


def test_counting_agrees_with_embedding(any_embedder: Embedder) -> None:
    texts = ["one", "one two three", ""]
    assert any_embedder.count_tokens(texts) == list(any_embedder.embed(texts, "document").token_counts)


def test_progress_adds_up(any_embedder: Embedder) -> None:
    steps: list[int] = []
    any_embedder.embed(random_texts(100, words=30), "document", on_progress=steps.append)
    assert sum(steps) == 100


async def test_async_gives_the_same(any_embedder: Embedder) -> None:
    texts = random_texts(200, words=40)
    documents, query = await asyncio.gather(any_embedder.aembed_documents(texts), any_embedder.aembed_query(texts[0]))
    np.testing.assert_allclose(documents, any_embedder.embed_documents(texts), atol=1e-5)
    np.testing.assert_allclose(query, any_embedder.embed_query(texts[0]), atol=1e-5)


def test_pickling_carries_the_configuration(any_embedder: Embedder) -> None:
    again = pickle.loads(pickle.dumps(any_embedder))
    assert again.fingerprint == any_embedder.fingerprint
    np.testing.assert_array_equal(again.embed_query("x"), any_embedder.embed_query("x"))


def test_a_closed_embedder_opens_again(any_embedder: Embedder) -> None:
    with pickle.loads(pickle.dumps(any_embedder)) as embedder:
        before = embedder.embed_query("x")
    np.testing.assert_array_equal(embedder.embed_query("x"), before)


def test_similarity_ranks_the_related_text_first(minilm: Embedder) -> None:
    passages = minilm.embed_documents(["Mars looks red because of rust.", "Venus is covered in clouds."])
    assert minilm.similarity(minilm.embed_query("Which planet is red?"), passages).argmax() == 0


TEXTS = ["Mars", "Venus", "Saturn"]


@pytest.mark.parametrize(
    "texts",
    [
        tuple(TEXTS),
        iter(TEXTS),
        (text for text in TEXTS),
        pandas.Series(TEXTS),
        np.array(TEXTS),
        dict.fromkeys(TEXTS).keys(),
    ],
    ids=["tuple", "iterator", "generator", "series", "array", "keys"],
)
async def test_what_gives_texts_in_order_is_a_list_of_texts(texts: Any) -> None:
    embedder = fake_embedder()
    np.testing.assert_array_equal(await embedder.aembed_documents(texts), embedder.embed_documents(TEXTS))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "not one str.*embed_query"),
        (b"one text", "not one bytes"),
        ({"a"}, "not a set, whose order"),
        ({"a": 1}, "not a dict, whose order"),
        (pandas.DataFrame({"text": ["a"]}), "not a DataFrame of 2 dimensions. Pass one column"),
        (np.array([["a"]]), "not a ndarray of 2 dimensions"),
        (None, "not a NoneType"),
        (3, "not a int"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts: Any, message: str) -> None:
    embedder = fake_embedder()
    for embed in (embedder.embed_documents, embedder.stream_documents, embedder.count_tokens):
        with pytest.raises(TypeError, match=message):
            embed(texts)


@pytest.mark.parametrize("text", [None, 3, float("nan"), b"bytes", ["a"]])
def test_a_text_that_is_none_is_named(text: Any) -> None:
    embedder = fake_embedder()
    with pytest.raises(InvalidTextError, match=r"Text 1 is .*, not a string") as caught:
        embedder.embed_documents(["Mars", text])
    assert caught.value.index == 1
    with pytest.raises(InvalidTextError, match="Text 0 is"):
        embedder.embed_query(text)


def test_an_input_is_a_query_or_a_document() -> None:
    for texts in (["Mars"], []):
        with pytest.raises(ValueError, match="input_type must be 'query' or 'document', not 'passage'"):
            fake_embedder().embed(texts, "passage")  # type: ignore[arg-type]


def test_a_stream_gives_the_same_vectors_and_takes_one_batch_at_a_time(any_embedder: Embedder) -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for text in random_texts(25, words=20):
            taken += 1
            yield text

    sizes = []
    for number, batch in enumerate(any_embedder.stream_documents(texts(), batch_size=10)):
        assert taken == min(25, 10 * (number + 1))
        sizes.append(len(batch))
    assert sizes == [10, 10, 5]
    whole = any_embedder.embed_documents(random_texts(25, words=20))
    streamed = np.vstack([*any_embedder.stream_documents(random_texts(25, words=20), batch_size=10)])
    np.testing.assert_allclose(streamed, whole, atol=1e-3)


def test_a_stream_names_a_text_by_its_place_in_all() -> None:
    stream = fake_embedder().stream_documents(["a"] * 7 + ["word " * 600], batch_size=3)
    assert [len(next(stream)) for _ in range(2)] == [3, 3]
    with pytest.raises(InputTooLongError, match="Text 7 has 603 tokens") as caught:
        next(stream)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(ValueError, match="batch_size must be 1 or more"):
        fake_embedder().stream_documents([], batch_size=0)


class WaitingBackend(FakeBackend):
    """Embeds when it is told to, and says when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()
        self.goes_on = threading.Event()

    def embed(self, texts: Sequence[str], **options: Any) -> BackendResult:
        assert self.goes_on.wait(30)
        return super().embed(texts, **options)

    def close(self) -> None:
        self.closed.set()


async def test_the_event_loop_is_free_meanwhile() -> None:
    backend = WaitingBackend()
    vectors = asyncio.create_task(Embedder(backend, FAKE_SPEC).aembed_documents(["Mars"]))
    await asyncio.sleep(0)
    backend.goes_on.set()  # which nobody would do if the loop waited, too
    assert (await vectors).shape == (1, 64)


def test_memory_is_given_back_after_a_time_without_use() -> None:
    backend = WaitingBackend()
    embedder = Embedder(backend, FAKE_SPEC, keep_alive=0.05)
    for _ in range(2):
        with ThreadPoolExecutor() as pool:
            vector = pool.submit(embedder.embed_query, "Mars")
            assert not backend.closed.wait(0.3)  # it is in use all the time
            backend.goes_on.set()
            assert vector.result().shape == (64,)
        assert backend.closed.wait(10)
        backend.closed.clear()
        backend.goes_on.clear()


def test_a_model_that_was_given_back_is_loaded_again(tiny_gguf: Path) -> None:
    embedder = Embedder.from_file(tiny_gguf, TINY_SPEC, keep_alive=0)
    before = embedder.embed_query("x")
    again = pickle.loads(pickle.dumps(embedder))
    for other in (embedder, again):
        np.testing.assert_array_equal(other.embed_query("x"), before)
    with pytest.raises(ValueError, match="keep_alive must be seconds"):
        Embedder.from_pretrained("minilm", keep_alive=-1)


def test_unknown_models_are_refused_before_anything_is_fetched() -> None:
    with pytest.raises(UnknownModelError, match="jina-embeddings-v5-text-small-retrieval"):
        Embedder.from_pretrained("jina-v9")


def test_an_engine_of_another_width_is_refused() -> None:
    with pytest.raises(BackendError, match="32 dimensions and fake has 64"):
        Embedder(FakeBackend(32), FAKE_SPEC)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_numbers_that_are_no_vector_are_refused(bad: float) -> None:
    class Broken(FakeBackend):
        def embed(self, texts: Sequence[str], **_options: Any) -> BackendResult:
            return BackendResult(np.full((len(texts), 64), bad, np.float32), (1,) * len(texts))

    with pytest.raises(BackendError, match="no usable vector for text 0"), np.errstate(invalid="ignore"):
        Embedder(Broken(), FAKE_SPEC).embed_documents(["x"])


WILD_TEXT = st.text(st.characters(codec=None), max_size=200) | st.sampled_from(
    ["\ud800", "a\udfffb", "\x00", "\x00" * 50, "e\u0301" * 40, "\u202eabc", "🏳️‍🌈", "\ufeff", "<|endoftext|>", "[CLS]"]
)


@settings(max_examples=150)
@given(texts=st.lists(WILD_TEXT, max_size=4))
def test_any_text_gives_a_unit_vector_or_our_error(any_embedder: Embedder, texts: list[str]) -> None:
    try:
        vectors = any_embedder.embed_documents(texts)
    except JinaRagError as error:
        assert isinstance(error, InvalidTextError)  # noqa: PT017 - any other error is a failure
        assert any("\ud800" <= letter <= "\udfff" for text in texts for letter in text)
        return
    assert vectors.shape == (len(texts), any_embedder.dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("letter", ["a", "1", " ", "\n", "!", "é", "日", "\u0301", "😀", "\x00", "ab "])
def test_a_megabyte_of_one_letter_is_refused_or_cut(any_embedder: Embedder, letter: str) -> None:
    text = letter * (1_000_000 // len(letter.encode()))
    vectors = Embedder(any_embedder.backend, any_embedder.spec, truncate=True).embed_documents([text])
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, atol=1e-5)
