import asyncio
import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_rag import Embedder, InputTooLongError, LlamaCppOptions, ModelLoadError, ModelNotFoundError
from jina_rag.backends.batching import MAX_SEQUENCES, pack
from jina_rag.backends.llama_cpp.backend import LlamaCppBackend
from jina_rag.backends.llama_cpp.context import ATTENTION_TILE
from jina_rag.backends.llama_cpp.library import library
from jina_rag.backends.llama_cpp.model import KEPT_CONTEXT_TOKENS
from jina_rag.backends.llama_cpp.vocabulary import SPLIT_TOKENS
from jina_rag.models import InputType
from jina_rag.testing import (
    END_OF_TEXT,
    TINY_SHAPE,
    TINY_SPEC,
    random_texts,
    tiny_merges,
    tiny_vocabulary,
    tiny_weights,
    write_qwen3_gguf,
    write_tiny_gguf,
)
from jina_rag.vectors import FloatArray
from tests.reference.texts import TEXTS
from tests.reference.tiny_tokenizer import build_tokenizer

REFERENCE = Path(__file__).parents[1] / "reference"
TOKENIZER = build_tokenizer()
STRESS_SECONDS = float(os.environ.get("JINA_RAG_STRESS_SECONDS", "2"))


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.sum(a * b, axis=-1), np.float32)


@pytest.mark.parametrize("input_type", ["query", "document"])
@pytest.mark.parametrize("name", TEXTS)
def test_tiny_qwen3_is_what_transformers_computes(tiny: Embedder, name: str, input_type: InputType) -> None:
    expected = json.loads((REFERENCE / "tiny_qwen3.json").read_text())["vectors"][f"{input_type}: {name}"]
    result = tiny.embed([TEXTS[name]], input_type)
    assert result.token_counts == (expected["tokens"],)
    assert cosines(result.vectors[0], expected["vector"]) >= 0.9999


def test_the_reference_holds_a_text_longer_than_several_batches(tiny: Embedder) -> None:
    assert tiny.count_tokens([TEXTS["long"]])[0] > 2000 > 3 * LlamaCppOptions().batch_tokens


@pytest.mark.parametrize("dimensions", TINY_SPEC.matryoshka_dimensions)
def test_cut_vectors_are_the_reference_cut(tiny_gguf: Path, dimensions: int) -> None:
    reference = json.loads((REFERENCE / "tiny_qwen3.json").read_text())["vectors"]
    embedder = Embedder.from_file(tiny_gguf, TINY_SPEC, dimensions=dimensions)
    for name in ("plain", "emoji", "japanese"):
        head = np.array(reference[f"document: {name}"]["vector"][:dimensions])
        expected = head / np.linalg.norm(head)
        assert np.linalg.norm(embedder.embed_documents([TEXTS[name]])[0] - expected) < 0.005
        full = Embedder.from_file(tiny_gguf, TINY_SPEC).embed_documents([TEXTS[name]])[0, :dimensions]
        np.testing.assert_allclose(embedder.embed_documents([TEXTS[name]])[0], full / np.linalg.norm(full), atol=1e-5)


@pytest.mark.parametrize(("quantization", "least"), [("F32", 0.9999), ("F16", 0.9995)])
def test_minilm_is_what_sentence_transformers_computes(quantization: str, least: float) -> None:
    expected = np.array(list(json.loads((REFERENCE / "minilm.json").read_text())["vectors"].values()))
    with Embedder.from_pretrained("all-MiniLM-L6-v2", quantization=quantization, truncate=True) as embedder:
        result = embedder.embed(list(TEXTS.values()), "document")
    assert cosines(result.vectors, expected).min() >= least
    assert result.truncated == (list(TEXTS).index("long"),)  # sentence-transformers cuts there too, unasked


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=80))
def test_tokens_are_those_of_the_reference_tokenizer(tiny: Embedder, text: str) -> None:
    assert isinstance(tiny.backend, LlamaCppBackend)
    (tokens,) = tiny.backend.tokenize([text])
    assert [token.id for token in tokens] == TOKENIZER.encode(text).ids


@pytest.mark.parametrize("flash_attention", ["on", "off"])
@pytest.mark.parametrize("batch_tokens", [32, 512, 2048])
def test_options_change_nothing_that_matters(
    tiny: Embedder, tiny_gguf: Path, flash_attention: str, batch_tokens: int
) -> None:
    texts = [*random_texts(40, words=40), TEXTS["long"]]
    options = LlamaCppOptions(flash_attention=flash_attention, batch_tokens=batch_tokens, n_threads=1, use_mmap=False)  # type: ignore[arg-type]
    with Embedder.from_file(tiny_gguf, TINY_SPEC, options=options) as embedder:
        same = cosines(embedder.embed_documents(texts), tiny.embed_documents(texts))
    assert same[:-1].min() >= 0.9999
    # Flash attention adds up thousands of tokens in half precision where it gets fewer than a tile at a time.
    assert same[-1] >= (0.9999 if batch_tokens >= ATTENTION_TILE or flash_attention == "off" else 0.999)


@given(st.lists(st.integers(1, 700), max_size=200), st.integers(1, 512))
def test_packing_loses_nothing_and_keeps_its_bounds(lengths: list[int], max_tokens: int) -> None:
    batches = list(pack(lengths, max_tokens=max_tokens))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[place] for place in batch) <= max_tokens
        assert 1 <= len(batch) <= MAX_SEQUENCES


def test_packing_fills_its_batches() -> None:
    lengths = np.random.default_rng(0).integers(80, 190, 1000).tolist()
    batches = list(pack(lengths, max_tokens=512))
    assert sum(lengths) / (512 * len(batches)) > 0.95


def test_a_long_text_does_not_keep_its_memory(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[int, int] = {}  # of the contexts that exist
    functions = library()
    init, free = functions.llama_init_from_model, functions.llama_free

    def init_and_note(model: Any, parameters: Any) -> Any:
        context = init(model, parameters)
        sizes[context] = parameters.n_ctx
        return context

    def free_and_note(context: Any) -> None:
        del sizes[context]
        free(context)

    monkeypatch.setattr(functions, "llama_init_from_model", init_and_note)
    monkeypatch.setattr(functions, "llama_free", free_and_note)
    with Embedder.from_file(tiny_gguf, TINY_SPEC, options=LlamaCppOptions(n_threads=1)) as embedder:
        embedder.embed_documents(["word " * 1_200])
        embedder.embed_query("hello")
        assert len(sizes) == 1
        assert max(sizes.values()) <= KEPT_CONTEXT_TOKENS


def test_threads_and_coroutines_get_the_single_threaded_vectors(minilm: Embedder) -> None:
    groups = [random_texts(4, words=20, seed=seed) for seed in range(6)]
    expected = [minilm.embed_documents(texts) for texts in groups]
    deadline = time.monotonic() + STRESS_SECONDS

    def work(turn: int) -> int:
        done = 0
        while time.monotonic() < deadline:
            which = (turn + done) % len(groups)
            assert cosines(minilm.embed_documents(groups[which]), expected[which]).min() > 0.99999
            assert cosines(minilm.embed_query(groups[which][0]), expected[which][0]) > 0.99999
            done += 1
        return done

    async def work_async(turn: int) -> int:
        done = 0
        while time.monotonic() < deadline:
            which = (turn + done) % len(groups)
            assert cosines(await minilm.aembed_documents(groups[which]), expected[which]).min() > 0.99999
            done += 1
        return done

    async def coroutines() -> list[int]:
        return await asyncio.gather(*map(work_async, range(50)))

    with ThreadPoolExecutor(8) as threads:
        counts = [threads.submit(work, turn) for turn in range(8)]
        done_by_coroutines = asyncio.run(coroutines())
    assert min(count.result() for count in counts) >= 1
    assert min(done_by_coroutines) >= 1


def test_a_question_does_not_wait_for_a_library(minilm: Embedder) -> None:
    library, began = random_texts(200, words=60), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        filling = threads.submit(minilm.embed, library, "document", on_progress=lambda _: began.set())
        assert began.wait(60)
        minilm.embed_query("Who kept the diary?")
        assert not filling.done()
        assert filling.result().vectors.shape == (200, 384)


def test_a_question_does_not_wait_for_a_long_text(tiny: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is computed between two parts of it, and neither vector shows that."""
    long, question = "word " * 900, "Who kept the diary?"
    expected = tiny.embed_documents([long])[0], tiny.embed_query(question)
    decode, sizes, began, asking = library().llama_decode, list[int](), threading.Event(), threading.Event()

    def decode_when_asked(context: Any, batch: Any) -> Any:
        sizes.append(batch.n_tokens)
        began.set()
        assert asking.wait(10)
        return decode(context, batch)

    monkeypatch.setattr(library(), "llama_decode", decode_when_asked)
    with ThreadPoolExecutor(2) as threads:
        reading = threads.submit(tiny.embed_documents, [long])
        assert began.wait(10)
        answering = threads.submit(tiny.embed_query, question)
        n_question = tiny.count_tokens([question], "query")[0]
        time.sleep(0.2)  # it stands behind the part at hand; if not yet, it comes one part later
        asking.set()
        asked, read = answering.result(), reading.result()[0]
    assert n_question in sizes[1:3]
    sizes.remove(n_question)
    assert n_question not in sizes
    assert len(sizes) > 4
    assert cosines(read, expected[0]).min() > 0.99999
    assert cosines(asked, expected[1]).min() > 0.99999


def _embed_in_child(pickled: bytes, results: "multiprocessing.Queue[list[float]]") -> None:
    results.put(pickle.loads(pickled).embed_query("hello").tolist())


def test_a_child_process_embeds_alike(tiny: Embedder) -> None:
    expected = tiny.embed_query("hello")
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[list[float]] = context.Queue()
    child = context.Process(target=_embed_in_child, args=(pickle.dumps(tiny), results))
    child.start()
    np.testing.assert_allclose(results.get(timeout=60), expected, atol=1e-6)
    child.join(60)
    assert child.exitcode == 0


def test_a_forked_embedder_embeds_without_being_pickled(tiny: Embedder) -> None:
    """Data loaders fork with the embedder in a global; its thread stays with the parent."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from jina_rag import Embedder\n"
        "from jina_rag.testing import TINY_SPEC\n"
        "embedder = Embedder.from_file(Path(sys.argv[1]), TINY_SPEC)\n"
        "before = embedder.embed_query('hello')\n"
        "child = os.fork()\n"
        "same = (embedder.embed_query('hello') == before).all()\n"
        "if child == 0: os._exit(0 if same else 1)\n"
        "print(os.waitpid(child, 0)[1], same)\n"
    )
    backend = tiny.backend
    assert isinstance(backend, LlamaCppBackend)
    done = subprocess.run(
        [sys.executable, "-c", code, str(backend.path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "0 True"


def test_one_file_is_loaded_once(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[bytes] = []
    load = library().llama_model_load_from_file

    def load_and_note(path: bytes, parameters: Any) -> Any:
        loads.append(path)
        return load(path, parameters)

    monkeypatch.setattr(library(), "llama_model_load_from_file", load_and_note)
    options = LlamaCppOptions(n_threads=1, batch_tokens=100)
    first, second = (LlamaCppBackend(tiny_gguf, pooling="last", options=options) for _ in range(2))
    other = LlamaCppBackend(tiny_gguf, pooling="last", options=LlamaCppOptions(n_threads=1, batch_tokens=200))
    assert first.dimensions == second.dimensions == other.dimensions
    assert len(loads) == 2
    first.close()
    assert second.embed(["still here"], max_tokens=100).vectors.shape == (1, TINY_SPEC.dimensions)


def test_loading_twice_costs_memory_once() -> None:
    """In a process of its own, so that nothing else is loaded; without mapping, so that the file itself counts."""
    code = (
        "import psutil\n"
        "from jina_rag import Embedder, LlamaCppOptions\n"
        "options = LlamaCppOptions(use_mmap=False)\n"
        "sizes, embedders = [], []\n"
        "for _ in range(3):\n"
        "    embedders.append(Embedder.from_pretrained('all-MiniLM-L6-v2', options=options))\n"
        "    embedders[-1].embed_query('hello')\n"
        "    sizes.append(psutil.Process().memory_info().rss // 2**20)\n"
        "print(*sizes)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, _, third = map(int, done.stdout.split())
    assert first > 90  # the float32 weights alone
    assert third - first < 20


def test_closing_gives_the_memory_back(tmp_path: Path) -> None:
    process = psutil.Process()
    for seed in range(3):
        path = write_tiny_gguf(tmp_path / f"{seed}.gguf", seed=seed)
        with Embedder.from_file(path, TINY_SPEC) as embedder:
            embedder.embed_query("hello")
    before = process.memory_info().rss
    for _ in range(30):
        with Embedder.from_file(path, TINY_SPEC) as embedder:
            embedder.embed_query("hello")
    assert process.memory_info().rss - before < 30 * 2**20


def test_a_replaced_file_is_loaded_anew(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf", seed=1)
    embedder = Embedder.from_file(path, TINY_SPEC)
    before, fingerprint = embedder.embed_query("hello"), embedder.fingerprint
    write_tiny_gguf(tmp_path / "new.gguf", seed=2).replace(path)
    after = Embedder.from_file(path, TINY_SPEC)
    assert cosines(before, after.embed_query("hello")) < 0.9
    assert after.fingerprint != fingerprint
    np.testing.assert_array_equal(embedder.embed_query("hello"), before)
    with pytest.raises(ModelLoadError, match="has changed since it was loaded"):
        _ = embedder.fingerprint


def test_a_file_that_is_gone_has_no_identity(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf", seed=1)
    embedder = Embedder.from_file(path, TINY_SPEC)
    path.unlink()
    with pytest.raises(ModelNotFoundError, match=r"is gone.*Put the file back"):
        _ = embedder.fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_threads": 0}, "n_threads must be a whole number of 1 or more, not 0"),
        ({"n_threads": 2.5}, "n_threads must be a whole number of 1 or more, not 2.5"),
        ({"batch_tokens": True}, "batch_tokens must be a whole number of 1 or more, not True"),
        ({"n_gpu_layers": None}, "n_gpu_layers must be a whole number of -1 or more, not None"),
        ({"use_mmap": None}, "use_mmap must be True or False, not None"),
        ({"flash_attention": "yes"}, "must be 'auto', 'on' or 'off', not 'yes'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LlamaCppOptions(**options)


@pytest.mark.skipif(sys.platform == "win32", reason="there, a process cannot send itself Ctrl-C alone")
def test_an_interrupted_long_text_is_given_up(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    real = library().llama_decode

    def decode(context: Any, batch: Any) -> Any:
        passes.append(batch.n_tokens)
        if len(passes) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)  # until the one who waits has heard it
        return real(context, batch)

    backend = LlamaCppBackend(tiny_gguf, pooling="last", options=LlamaCppOptions(batch_tokens=64))
    text = "word " * 500
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        with monkeypatch.context() as patch:
            patch.setattr(library(), "llama_decode", decode)
            with pytest.raises(KeyboardInterrupt):
                backend.embed([text], max_tokens=4096)
            assert backend.embed(["hello"], max_tokens=4096).vectors.any()  # the thread is free again
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(passes) == 3
    after = backend.embed([text], max_tokens=4096).vectors
    assert cosines(after, LlamaCppBackend(tiny_gguf, pooling="last").embed([text], max_tokens=4096).vectors) > 0.999


def test_a_closed_model_ends_its_thread(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf", seed=1)
    before = threading.active_count()
    for _ in range(3):
        with Embedder.from_file(path, TINY_SPEC) as embedder:
            embedder.embed_query("hello")
            assert any(thread.name.startswith("jina-rag-llama") for thread in threading.enumerate())
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_nothing_is_printed(tiny_gguf: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from jina_rag import Embedder, ModelLoadError\n"
        "from jina_rag.testing import TINY_SPEC\n"
        "Embedder.from_file(Path(sys.argv[1]), TINY_SPEC).embed_documents(['hello', 'word ' * 1000])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiny_gguf)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_llama_cpp_logs_through_logging(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf", seed=7)
    with caplog.at_level(logging.DEBUG, "jina_rag.llama_cpp"):
        Embedder.from_file(path, TINY_SPEC).close()
    assert any("qwen3" in record.message for record in caplog.records)


def test_files_that_are_not_there_or_not_models(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"missing\.gguf"):
        Embedder.from_file(tmp_path / "missing.gguf", TINY_SPEC)
    text = tmp_path / "notes.gguf"
    text.write_text("These are only notes.")
    with pytest.raises(ModelLoadError, match=r"notes\.gguf"):
        Embedder.from_file(text, TINY_SPEC)


@pytest.mark.parametrize("add_eos", [True, False, None])
def test_a_text_ends_with_the_models_closing_token_whatever_the_file_says(tmp_path: Path, add_eos: bool | None) -> None:
    spec = replace(TINY_SPEC, closing_token=END_OF_TEXT)
    texts = ["The lighthouse keeper wrote down the weather.", "a", "", "word " * 900]
    expected = Embedder.from_file(_tiny(tmp_path / "says.gguf", add_eos=True), TINY_SPEC).embed(texts, "document")
    embedder = Embedder.from_file(_tiny(tmp_path / "model.gguf", add_eos=add_eos), spec)
    result = embedder.embed(texts, "document")
    np.testing.assert_array_equal(result.vectors, expected.vectors)
    assert result.token_counts == expected.token_counts
    cut = Embedder(embedder.backend, replace(spec, max_input_tokens=20), truncate=True).embed(texts, "document")
    assert cut.truncated == (0, 3)
    assert embedder.backend.tokenize(["a"])[0][-1].text == END_OF_TEXT  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("closing_token", "message"),
    [
        ("<|absent|>", r"has no token '<\|absent\|>', which the model was trained to read"),
        ("", r"puts '<\|endoftext\|>' after each text, and the model was trained with 'nothing'"),
    ],
)
def test_a_file_of_another_closing_token_is_refused(tmp_path: Path, closing_token: str, message: str) -> None:
    path = _tiny(tmp_path / "model.gguf", add_eos=True)
    with pytest.raises(ModelLoadError, match=message):
        Embedder.from_file(path, replace(TINY_SPEC, closing_token=closing_token))


def _tiny(path: Path, *, add_eos: bool | None) -> Path:
    vocabulary = tiny_vocabulary()
    weights = tiny_weights(vocabulary_size=len(vocabulary))
    return write_qwen3_gguf(path, TINY_SHAPE, weights, vocabulary, tiny_merges(), add_eos=add_eos)


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from(["<|endoftext|>", "<|endoftext", "|>", "[SEP]", "[MASK]", "[SE", "P]", " ", "\n", "é"]),
        max_size=60,
    )
)
def test_long_texts_are_tokenised_in_parts_to_the_same_tokens(
    tiny: Embedder, minilm: Embedder, pieces: list[str]
) -> None:
    text = "".join(pieces)
    for backend in (tiny.backend, minilm.backend):
        assert isinstance(backend, LlamaCppBackend)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("jina_rag.backends.llama_cpp.vocabulary.SPLIT_BYTES", 0)
            monkeypatch.setattr("jina_rag.backends.llama_cpp.vocabulary.SPLIT_TOKENS", 2)
            in_parts = backend.tokenize([text])
        assert in_parts == backend.tokenize([text])


def test_special_tokens_take_no_time_in_their_square(tiny: Embedder, minilm: Embedder) -> None:
    """Counted in calls, each of which takes few of them."""
    sizes: list[int] = []
    tokenize = library().llama_tokenize

    def note(vocabulary: Any, text: bytes, *others: Any) -> Any:
        sizes.append(text.count(b"<|endoftext|>") + text.count(b"[SEP]"))
        return tokenize(vocabulary, text, *others)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(library(), "llama_tokenize", note)
        assert tiny.backend.count_tokens(["<|endoftext|>" * 20_000]) == [20_000]
        assert minilm.backend.count_tokens(["[SEP]" * 20_000]) == [20_002]
    assert max(sizes) <= SPLIT_TOKENS


def test_an_absurdly_long_text_is_refused_before_it_is_tokenised(tiny: Embedder) -> None:
    text = "word " * 2_000_000
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(library(), "llama_tokenize", lambda *_: pytest.fail("tokenised"))
        with pytest.raises(
            InputTooLongError, match=r"Text 1 has at least [\d,]+ tokens and the model reads 4,096"
        ) as caught:
            tiny.embed_documents(["fine", text])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.index, again.at_least, str(again)) == (1, True, str(caught.value))
    assert again.token_count <= tiny.count_tokens([text])[0]


def test_a_whole_file_that_llama_cpp_refuses(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    path = tmp_path / "strange.gguf"
    writer = GGUFWriter(path, "architecture-of-tomorrow")
    writer.add_tensor("token_embd.weight", np.zeros((len(tiny_vocabulary()), 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelLoadError, match=r"unknown model architecture: 'architecture-of-tomorrow'.*upgrade llama"):
        Embedder.from_file(path, TINY_SPEC)
