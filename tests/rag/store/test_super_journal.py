"""A journal in somebody else's index makes SQLite delete no other file."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest

from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.check import doctor
from jina_rag.testing import fake_embedder
from tests.index_files import nearest

MAGIC = bytes.fromhex("d9d505f920a163d7")


def write_hostile_journal(database: Path, victim: Path) -> None:
    """A hot journal that restores the first page as it is, and names a super-journal (sqlite.org/fileformat2.html)."""
    content = database.read_bytes()
    page_size = struct.unpack(">H", content[16:18])[0]
    page, nonce = content[:page_size], 1
    checksum = nonce + sum(page[place] for place in range(page_size - 200, 0, -200))
    header = MAGIC + struct.pack(">IIIII", 1, nonce, len(content) // page_size, 512, page_size)
    record = struct.pack(">I", 1) + page + struct.pack(">I", checksum)
    name = str(victim).encode()
    lock_page = 0x40000000 // page_size + 1
    named = struct.pack(">I", lock_page) + name + struct.pack(">II", len(name), sum(name)) + MAGIC
    database.with_name(f"{database.name}-journal").write_bytes(header.ljust(512, b"\0") + record + named)


@pytest.mark.parametrize("name", ["index.sqlite3", "chroma/chroma.sqlite3"])
def test_a_journal_deletes_no_other_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The lamp is lit at dusk.")
    victim = tmp_path / "victim.txt"
    victim.write_text("Mine.")
    with DocumentIndex.create_or_open(tmp_path / "index", fake_embedder()) as index:
        index.add([tmp_path / "a.txt"])
    write_hostile_journal(tmp_path / "index" / name, victim)
    with suppress(IndexFolderError), DocumentIndex.open(tmp_path / "index", fake_embedder()) as index:
        nearest(index, "lamp")
    assert any("names another file" in problem.what for problem in doctor(tmp_path / "index"))
    assert victim.read_text() == "Mine."
