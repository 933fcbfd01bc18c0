import pytest

from jina_rag import BackendError, Embedder, InvalidDimensionsError, LlamaCppOptions, UnknownBackendError
from jina_rag.backends.remote.address import BackendAddress, engine_of, parse_backend
from jina_rag.config import EmbedderConfig
from jina_rag.machine import is_loopback


@pytest.mark.parametrize(
    ("setting", "kind", "url"),
    [
        ("http://host:8080", "http", "http://host:8080"),
        ("https://host/gateway/v1/", "http", "https://host/gateway"),
        ("openai+http://host:8080/v1", "openai", "http://host:8080"),
        ("tei+https://host", "tei", "https://host"),
        ("elastic+http://[::1]:9200?endpoint=mine&create=true", "elastic", "http://[::1]:9200"),
        ("jina", "jina", "https://api.jina.ai"),
        ("jina+http://127.0.0.1:1", "jina", "http://127.0.0.1:1"),
        ("sentence-transformers?device=cpu", "sentence-transformers", ""),
        ("onnx?precision=int8&threads=2", "onnx", ""),
    ],
)
def test_addresses(setting: str, kind: str, url: str) -> None:
    address = parse_backend(setting)
    assert (address.kind, address.url) == (kind, url)


def test_settings_follow_the_address() -> None:
    address = parse_backend("http://host?model=a/b:Q8_0&timeout=3.5&concurrency=2&create=1&weights=abc&key_env=MINE")
    assert (address.model, address.timeout, address.concurrency) == ("a/b:Q8_0", 3.5, 2)
    assert (address.create, address.weights, address.key.variable) == (True, "abc", "MINE")


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "host:8080",
        "ftp://host",
        "http://",
        "http://host:99999",
        "llama",
        "tei",
        "openai+tei+http://host",
        "http://[::1",
    ],
)
def test_what_names_no_engine_is_refused(setting: str) -> None:
    with pytest.raises(UnknownBackendError, match=r"Write http://host:port, "):
        parse_backend(setting)


def test_an_engine_is_found_by_what_it_made() -> None:
    weights = "0" * 64
    assert engine_of(weights) is None
    assert engine_of(weights, "auto?threads=2") == "llama.cpp?threads=2"
    assert engine_of(f"{weights}/onnx/f32/cuda") == "onnx?precision=f32&device=cuda"
    assert engine_of(f"{weights}/onnx/int8", "auto?threads=2") == "onnx?precision=int8&threads=2"
    assert engine_of(f"{weights}/onnx/int8", "jina") == "jina"
    assert engine_of(f"{weights}/onnx/int8&key_file=x") is None  # an index may come from anywhere


@pytest.mark.parametrize(
    "setting",
    ["http://user:hunter2@host", "http://hunter2@host", "http://host?api_key=hunter2", "jina?key=hunter2"],
)
def test_a_key_in_an_address_is_refused_and_not_repeated(setting: str) -> None:
    with pytest.raises(UnknownBackendError) as caught:
        parse_backend(setting)
    assert "hunter2" not in str(caught.value)
    assert "key_env" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["timeout=0", "timeout=-1", "timeout=1e9", "timeout=nan", "concurrency=1.5", "create=perhaps", "precision=int4"],
)
def test_senseless_settings_are_refused(value: str) -> None:
    with pytest.raises(UnknownBackendError, match=value.partition("=")[0]):
        parse_backend(f"http://host?{value}")


def test_usual_places_of_keys() -> None:
    assert BackendAddress(kind="jina").key.variable == "JINA_API_KEY"
    assert BackendAddress(kind="elastic").key.variable == "ELASTIC_API_KEY"
    assert BackendAddress(kind="http").key.variable == "JINA_RAG_API_KEY"


def test_a_configuration_is_checked_without_asking_anybody() -> None:
    EmbedderConfig(model="minilm", quantization="BF16", backend="sentence-transformers").check()
    with pytest.raises(UnknownBackendError, match="names no engine"):
        EmbedderConfig(backend="nonsense").check()
    with pytest.raises(InvalidDimensionsError):
        Embedder.from_pretrained("minilm", dimensions=5, backend="http://127.0.0.1:1")


def test_options_of_llama_cpp_are_refused_with_another_engine() -> None:
    with pytest.raises(BackendError, match=r"llama\.cpp in this process"):
        Embedder.from_pretrained("minilm", backend="http://127.0.0.1:1", options=LlamaCppOptions(n_threads=1))


@pytest.mark.parametrize(
    ("host", "expected"),
    [(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST")]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", "")],
)
def test_loopback_addresses_are_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
