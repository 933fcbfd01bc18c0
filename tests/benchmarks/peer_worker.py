"""One way to embed, in a process of its own that is asked again and again: the other end of `tests.benchmarks.peers`.

    python -m tests.benchmarks.peer_worker NAME MODEL.gguf

Requests and answers are lines of JSON. Nothing is imported that the way itself does not need, so that its memory and
the settings of its threads are its own.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

THREADS = 2
ONE_PASS_BATCH = 512
ONE_PASS_TEXTS = 64

Embed = Callable[[Sequence[str]], Iterable[Any]]


def jina_rag(path: Path, backend: str | None = None) -> Embed:
    """This project, with its defaults. The texts carry their prompt already, so that all embed the same tokens."""
    from dataclasses import replace

    from jina_rag import Embedder, LlamaCppOptions
    from jina_rag.models import Prompts
    from tests.benchmarks.small_shape import SPEC

    spec = replace(SPEC, prompts=Prompts())
    options = LlamaCppOptions(n_threads=THREADS)
    return Embedder.from_file(path, spec, options=options, backend=backend).embed_documents


def one_pass(path: Path) -> Embed:
    """Batches of whole texts with embeddings on for every token, as llama-server and llama-embedding compute them."""
    import numpy as np
    from llama_cpp import llama_cpp

    model = load_model(path)
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = ONE_PASS_BATCH
    parameters.n_seq_max = ONE_PASS_TEXTS
    parameters.kv_unified = True
    parameters.embeddings = True
    parameters.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_LAST
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    parameters.n_threads = parameters.n_threads_batch = THREADS
    context = llama_cpp.llama_init_from_model(model, parameters)
    width = llama_cpp.llama_model_n_embd_out(model)
    batch = llama_cpp.llama_batch_init(ONE_PASS_BATCH, 0, 1)

    def decode(texts: Sequence[list[int]]) -> list[Any]:
        batch.n_tokens = 0
        for owner, tokens in enumerate(texts):
            for position, token in enumerate(tokens):
                index = batch.n_tokens
                batch.token[index], batch.pos[index] = token, position
                batch.n_seq_id[index], batch.seq_id[index][0], batch.logits[index] = 1, owner, True
                batch.n_tokens += 1
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), False)
        if llama_cpp.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        pointers = [llama_cpp.llama_get_embeddings_seq(context, owner) for owner in range(len(texts))]
        return [np.ctypeslib.as_array(pointer, (width,)).copy() for pointer in pointers]

    def embed(texts: Sequence[str]) -> list[Any]:
        tokens = sorted((tokenize(model, text) for text in texts), key=len)
        vectors, waiting = [], list[list[int]]()
        for ids in tokens:
            if sum(map(len, waiting)) + len(ids) > ONE_PASS_BATCH:
                vectors += decode(waiting)
                waiting = []
            waiting.append(ids)
        return vectors + decode(waiting)

    return embed


def llama_embed(path: Path, n_batch: int, *, one_by_one: bool = False) -> Embed:
    """llama-cpp-python's `Llama.embed`, given all the texts at once or one after another."""
    model = _llama(path, n_batch)
    if one_by_one:
        return lambda texts: [model.embed(text, normalize=True) for text in texts]
    return lambda texts: model.embed(list(texts), normalize=True)


def llama_cpp_embeddings(path: Path) -> Embed:
    """langchain-community's `LlamaCppEmbeddings`, one `embed_documents` of all texts."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package says that it is no longer kept
        from langchain_community.embeddings import LlamaCppEmbeddings

    # It has no setting for the pooling, which a published file names and this one does not: hence a client made here.
    embeddings = LlamaCppEmbeddings(model_path=str(path), client=_llama(path, 512))
    return lambda texts: embeddings.embed_documents(list(texts))


def _llama(path: Path, n_batch: int) -> Any:
    from llama_cpp import LLAMA_POOLING_TYPE_LAST, Llama

    return Llama(
        str(path),
        embedding=True,
        pooling_type=LLAMA_POOLING_TYPE_LAST,
        n_ctx=n_batch,
        n_batch=n_batch,
        n_ubatch=n_batch,
        n_threads=THREADS,
        n_threads_batch=THREADS,
        verbose=False,
    )


def load_model(path: Path, *, vocab_only: bool = False) -> Any:
    """A model as llama.cpp's own functions take it."""
    from llama_cpp import llama_cpp

    llama_cpp.llama_log_set(_silence, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = vocab_only
    return llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)


_silence = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)


def tokenize(model: Any, text: str) -> list[int]:
    """The tokens of a text, with the special ones that belong to it."""
    from llama_cpp import llama_cpp

    encoded = text.encode()
    tokens = (ctypes.c_int32 * (len(encoded) + 8))()
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    n_tokens = llama_cpp.llama_tokenize(vocabulary, encoded, len(encoded), tokens, len(tokens), True, True)
    return list(tokens[:n_tokens])


WAYS: dict[str, Callable[[Path], Embed]] = {
    "jina_rag": jina_rag,
    "jina_rag, onnx f32": lambda path: jina_rag(path, f"onnx?threads={THREADS}"),
    "jina_rag, onnx int8": lambda path: jina_rag(path, f"onnx?precision=int8&threads={THREADS}"),
    "one pass, embeddings on": one_pass,
    "Llama.embed, n_batch=512": lambda path: llama_embed(path, 512),
    "Llama.embed, n_batch=2048": lambda path: llama_embed(path, 2048),
    "Llama.embed, one by one": lambda path: llama_embed(path, 512, one_by_one=True),
    "LlamaCppEmbeddings": llama_cpp_embeddings,
}


def main(name: str, path: Path) -> None:
    """Load, say so, and answer requests: how long the texts took, and the most memory so far."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    embed = WAYS[name](path)
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        vectors = embed(request["texts"])
        answer: dict[str, Any] = {"seconds": time.perf_counter() - started}
        if request.get("vector"):
            answer["vector"] = [float(number) for number in next(iter(vectors))]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
