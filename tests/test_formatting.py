import pytest

from jina_rag.formatting import counted, duration, file_size


def test_counted() -> None:
    assert [counted(n, "file") for n in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (3570, "1 h 0 min"), (4800, "1 h 20 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(999, "999 bytes"), (1500, "1.5 kB"), (3e6, "3.0 MB"), (4e12, "4000.0 GB")]
)
def test_file_size(n_bytes: float, text: str) -> None:
    assert file_size(n_bytes) == text
