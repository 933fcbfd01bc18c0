"""Mail: its header, its text in the richest form, its attachments read or named."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import Document, read_document


def _read(path: Path, message: EmailMessage | bytes) -> Document:
    path.write_bytes(message if isinstance(message, bytes) else message.as_bytes())
    return read_document(path)


def _message(text: str = "BodyWord") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "AuthorWord Müller <ann@example.org>"
    message["To"], message["Cc"] = "ToWord <bob@example.org>", "CcWord <carl@example.org>"
    message["Subject"] = "SubjectWord for März"
    message["Date"] = "Sat, 01 Mar 2025 14:05:00 +0100"
    message["Received"] = "from TechnicalWord"
    message.set_content(text)
    return message


def test_nothing_of_a_message_is_lost_without_a_note(tmp_path: Path) -> None:
    message = _message("PlainWord")
    message.add_alternative(
        "<p>Open <b>BodyWord</b></p><table><tr><th>A</th></tr><tr><td>1</td></tr></table>", subtype="html"
    )
    message.add_attachment("name,price\nCellWord,7\n", subtype="csv", filename="prices.csv")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="x-own", filename="PictureWord.xyz")
    message.add_attachment(b"no archive", maintype="application", subtype="x", filename="DamagedWord.docx")
    inner = _message("InnerWord")
    message.add_attachment(inner)
    document = _read(tmp_path / "a.eml", message)
    (page,) = document.pages
    assert document.title == "SubjectWord for März"
    assert document.metadata == {
        "author": "AuthorWord Müller <ann@example.org>",
        "to": "ToWord <bob@example.org>",
        "created": "2025-03-01T14:05:00+01:00",
    }
    assert page.text.startswith("# SubjectWord for März\n\nFrom: AuthorWord Müller <ann@example.org>\nTo: ToWord")
    assert "Open **BodyWord**\n\n| A |\n| --- |\n| 1 |\n\n# Attachment: prices.csv\n\n| name | price |" in page.text
    assert "# Attached message: SubjectWord for März\n" in page.text
    for word in ("CcWord", "CellWord", "InnerWord"):
        assert word in page.text
    assert "TechnicalWord" not in page.text
    damaged, left_out = document.notes
    assert damaged.startswith("The attachment DamagedWord.docx was left out: ")
    assert left_out == "Attachments that can't be read were left out (1): PictureWord.xyz."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"Content-Type: text/plain; charset=iso-8859-2\n\nKsi\xb1\xbfka", "Książka"),
        (b"Content-Type: text/plain; charset=nonsense\n\nPrice: \xa37 at the door", "Price: £7 at the door"),
        (b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQ==", "Grüße"),
        (b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\n\ntwo\n", "one\n\ntwo"),
        (b"\nHello\n-- \nBob", "Hello\n\\-- \nBob"),
    ],
    ids=["declared", "unknown charset", "base64", "cut off", "signature"],
)
def test_a_body_is_decoded(tmp_path: Path, body: bytes, text: str) -> None:
    document = _read(tmp_path / "a.eml", b"Subject: S\nDate: soon\n" + body)
    assert document.pages[0].text == f"# S\n\nSubject: S\nDate: soon\n\n{text}"


def test_what_is_no_mail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no mail"):
        _read(tmp_path / "a.eml", b"\njust a text")
