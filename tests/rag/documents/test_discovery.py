import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import Page, ReadLimits, find_documents, read_document
from jina_rag.rag.documents.discovery import Skipped, files_at
from tests.rag.documents.pdf import write_pdf


def _write(path: Path, content: str | bytes = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_folder_gives_its_documents_and_passes_over_the_rest(tmp_path: Path) -> None:
    wanted = [_write(tmp_path / "a.MD"), _write(tmp_path / "b" / "c.txt"), _write(tmp_path / "b" / "d.html")]
    for other in ("video.mp4", "b/.hidden.txt", ".git/e.txt", "no_ending"):
        _write(tmp_path / other)
    assert find_documents([tmp_path]) == sorted(wanted)


def test_what_is_not_read_is_counted_by_its_ending(tmp_path: Path) -> None:
    for name in ("a.md", "b.doc", "c/d.DOC", "c/e.msg", "README", "f.a very long one", ".hidden.doc", "prod.env.bak"):
        _write(tmp_path / "notes" / name)
    (tmp_path / "notes" / "c" / "linked").symlink_to(tmp_path)
    (tmp_path / "notes" / "linked.txt").symlink_to(_write(tmp_path / "outside.txt"))
    (tmp_path / "notes" / "linked.md").symlink_to(tmp_path)
    skipped = Skipped()
    assert len(list(files_at(tmp_path / "notes", ["*.bak"], None, skipped))) == 1
    assert str(skipped) == "2 .doc, 2 without a known ending, 1 .msg; 2 linked folders; 1 file linked elsewhere"
    for number in range(99):
        skipped.add_file(f"a.{number}")
    assert str(skipped).startswith("54 without a known ending, 2 .doc, 1 .msg, 1 .0, ")
    assert str(skipped).endswith(", 42 others; 2 linked folders; 1 file linked elsewhere")


def test_a_file_named_twice_is_one_document(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.md")
    (tmp_path / "link.md").symlink_to(file)
    assert find_documents([tmp_path, file, str(file), tmp_path / "link.md"]) == [file]


def test_a_hidden_file_that_is_named_is_taken(tmp_path: Path) -> None:
    file = _write(tmp_path / ".hidden" / ".notes.txt")
    assert find_documents([file]) == [file]


def test_exclusions_are_written_as_in_gitignore(tmp_path: Path) -> None:
    wanted = [_write(tmp_path / name) for name in ("a.md", "notes/b.md", "notes/keep.tmp.md", "node_modules/c.md")]
    for other in ("d.tmp.md", "build/e.md", "notes/build/f.md", "private/g.md", "site-packages/h.py"):
        _write(tmp_path / other)
    _write(tmp_path / ".jinaragignore", "# mine\n/private\n*.tmp.md\n")
    exclude = ["build/", "!keep.tmp.md", "!node_modules/"]
    assert find_documents([tmp_path], exclude) == sorted(wanted)
    assert find_documents([tmp_path / "private" / "g.md"], ["*"]) == [tmp_path / "private" / "g.md"]
    with pytest.raises(DocumentError, match="gitignore"):
        find_documents([tmp_path], ["!"])


def test_files_with_keys_are_passed_over_unless_they_are_named(tmp_path: Path) -> None:
    wanted = [_write(tmp_path / name) for name in ("a.md", "secrets.md", "environment.txt")]
    keys = (
        "prod.env",
        "sub/credentials.json",
        "sub/secrets.yaml",
        "passwords.txt",
        "client_secret_1.json",
        "id_rsa.txt",
    )
    files = [_write(tmp_path / name) for name in keys]
    (tmp_path / "notes.md").symlink_to("prod.env")
    assert find_documents([tmp_path]) == find_documents([tmp_path / "**" / "*"]) == sorted(wanted)
    assert find_documents([tmp_path], ["!*.env"]) == sorted([*wanted, tmp_path / "prod.env"])
    assert find_documents(files) == sorted(files)


def test_a_pattern_names_what_it_fits(tmp_path: Path) -> None:
    a, b, c = (_write(tmp_path / name) for name in ("a.md", "sub/b.md", "sub/c[1].txt"))
    for other in (".hidden/d.md", "sub/.e.md", "sub/f.mp4"):
        _write(tmp_path / other)
    assert find_documents([tmp_path / "*.md"]) == [a]
    assert find_documents([f"{tmp_path}/**/*.md"]) == [a, b]
    assert find_documents([f"{tmp_path}/s?b"]) == [b, c]
    assert find_documents([f"{tmp_path}/**/*"], ["sub/*.md"]) == [a, c]
    assert find_documents([tmp_path / "sub" / "c[1].txt"]) == [c]
    for nothing in ("*.pdf", "nowhere/*.md", "sub/c[2].txt"):
        with pytest.raises(DocumentError, match="fits no file"):
            find_documents([tmp_path / nothing])


def test_a_file_address_is_a_path_and_others_are_refused(tmp_path: Path) -> None:
    file = _write(tmp_path / "a b.md")
    assert find_documents([file.as_uri()]) == find_documents([tmp_path.as_uri()]) == [file]
    for address in ("https://example.com/a.pdf", Path("http://example.com/a.pdf"), "S3://bucket/a.md"):
        with pytest.raises(DocumentError, match="Download it"):
            find_documents([address])


def test_links_lead_nowhere_outside_their_folder(tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside" / "secret.md")
    inside = _write(tmp_path / "folder" / "sub" / "a.md")
    folder = tmp_path / "folder"
    (folder / "same.md").symlink_to("sub/a.md")
    (folder / "out.md").symlink_to(outside)
    (folder / "up.md").symlink_to("../outside/secret.md")
    (folder / "out").symlink_to(outside.parent)
    (folder / "round").symlink_to(folder)
    (folder / "broken.md").symlink_to("nowhere.md")
    assert find_documents([folder]) == [inside]
    assert find_documents([folder / "**" / "*.md"]) == find_documents([folder / "*"]) == [inside]
    assert find_documents([folder / "out.md"]) == find_documents([folder / "out"]) == [outside]
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert find_documents([linked, folder / ".." / "folder"]) == [inside]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.md")
    os.mkfifo(tmp_path / "pipe.md")
    assert find_documents([tmp_path]) == find_documents([tmp_path / "*.md"]) == [file]
    for action in (lambda: find_documents([tmp_path / "pipe.md"]), lambda: read_document(tmp_path / "pipe.md")):
        with pytest.raises(DocumentError, match="no ordinary file"):
            action()
    with pytest.raises(DocumentError, match="supported file type"):
        read_document(Path(os.devnull))


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, closed = _write(tmp_path / "a.md"), _write(tmp_path / "closed" / "b.md").parent
    scandir = os.scandir

    def refuse(path: Path) -> object:  # root may list everything, so the system's refusal is played
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DocumentError, match=r"closed can't be listed \(Permission denied\)"):
        find_documents([tmp_path])
    reported: list[tuple[Path, str]] = []
    assert find_documents([tmp_path], on_error=lambda path, error: reported.append((path, str(error)))) == [file]
    assert [path for path, _ in reported] == [closed]


def test_a_missing_path_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no file or folder"):
        find_documents([tmp_path / "nowhere"])
    with pytest.raises(DocumentError, match=r"video\.mp4 isn.t a supported file type\. Add PDF, Word"):
        find_documents([_write(tmp_path / "video.mp4")])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a" * 300, "There is no file or folder a+. Check the spelling"),
        ("*" + "a" * 300, r"The pattern \*a+ fits no file or folder"),
        ("a" * 300 + "/*.md", "fits no file or folder"),
    ],
)
def test_a_name_too_long_for_a_file_is_refused(name: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        find_documents([name])


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Later versions of Python read ** as *.")
def test_a_pattern_that_cannot_be_understood_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"can't be understood .*Write \*\* as a folder, as in notes/\*\*/\*.md"):
        find_documents([tmp_path / "no**.md"])


def test_markdown_is_called_by_its_first_heading(tmp_path: Path) -> None:
    document = read_document(_write(tmp_path / "guide.md", "Intro\r\n\r\n# The *guide*\r\ntext"))
    assert document.title == "The guide"
    assert document.source == str(tmp_path / "guide.md")
    assert document.is_markdown
    assert document.pages == (Page(None, "Intro\n\n# The *guide*\ntext"),)
    assert read_document(_write(tmp_path / "plain.md", "no heading")).title == "plain"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_decoded(tmp_path: Path, encoding: str) -> None:
    text = "Der Löwe fraß süße Äpfel, während die Bäume rauschten. " * 5
    assert read_document(_write(tmp_path / "a.txt", text.encode(encoding))).pages[0].text == text


@pytest.mark.parametrize("content", [b"GIF89a\x00\x01\x00\x00", b"\x00" * 50], ids=["gif", "zeros"])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DocumentError, match="not a text file"):
        read_document(_write(tmp_path / "a.txt", content))


def test_a_file_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="has no text"):
        read_document(_write(tmp_path / "a.md", " \n\t\n"))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "x" * 2**21)
    assert read_document(file, ReadLimits(max_bytes=2**21)).pages[0].text == "x" * 2**21
    with pytest.raises(DocumentError, match="has 2 MB and a document may have 1"):
        read_document(file, ReadLimits(max_bytes=2**20))


def test_a_missing_file_is_a_document_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="can't be read"):
        read_document(tmp_path / "a.txt")


def test_html_keeps_headings_and_drops_what_nobody_reads(tmp_path: Path) -> None:
    html = """<html><head><title> Opening
    hours </title><style>p {}</style></head><body><nav>Home | Shop</nav><h1>Hours</h1><h2>Summer</h2>
    <script>track()</script><p>Open <b>daily</b>.</p><table><tr><th>Day</th></tr><tr><td>Monday</td></tr></table>
    </body></html>"""
    document = read_document(_write(tmp_path / "a.html", html))
    text = document.pages[0].text
    assert document.title == "Opening hours"
    assert "# Hours\n" in text
    assert "## Summer\n" in text
    assert "Open **daily**." in text
    assert "| Monday |" in text
    assert not any(hidden in text for hidden in ("track", "Home", "p {}"))


def test_html_is_read_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    html = '<html><head><meta charset="iso-8859-1"></head><body><h1>Café</h1></body></html>'
    assert read_document(_write(tmp_path / "a.htm", html.encode("latin-1"))).title == "Café"


def test_pdf_pages_are_numbered_from_one(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["First page", "", "Third\npage"], title="First")
    document = read_document(path)
    assert document.title == "First"
    assert document.pages == (Page(1, "First page"), Page(2, ""), Page(3, "Third\npage"))
    assert not document.is_markdown
    assert read_document(write_pdf(tmp_path / "untitled.pdf", ["text"])).title == "untitled"


def test_pdfs_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="encrypted"):
        read_document(write_pdf(tmp_path / "secret.pdf", ["text"], encrypted=True))
    with pytest.raises(DocumentError, match="has no text"):
        read_document(write_pdf(tmp_path / "blank.pdf", ["", ""]))
    with pytest.raises(DocumentError, match="damaged"):
        read_document(_write(tmp_path / "broken.pdf", "%PDF-1.4 and nothing else"))
    with pytest.raises(DocumentError, match="damaged"):
        read_document(_write(tmp_path / "empty.pdf", b""))


def test_pdfs_can_be_read_from_many_threads(tmp_path: Path) -> None:
    paths = [write_pdf(tmp_path / f"{i}.pdf", [f"file {i} page {page}" for page in range(20)]) for i in range(8)]
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(read_document, paths * 3))
    assert [document.pages[7].text for document in read] == [f"file {i} page 7" for i in range(8)] * 3
