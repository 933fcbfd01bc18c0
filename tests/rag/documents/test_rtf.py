"""Rich Text Format: what is read of it as text, and what is noted."""

from pathlib import Path

import pytest

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import Document, read_document


def _read(folder: Path, body: str | bytes, header: str = r"\ansi\ansicpg1252") -> Document:
    path = folder / "a.rtf"
    body = body.encode("ascii") if isinstance(body, str) else body
    path.write_bytes(b"{\\rtf1" + header.encode() + b"\n" + body + b"}")
    return read_document(path)


def _text(folder: Path, body: str | bytes, header: str = r"\ansi\ansicpg1252") -> str:
    document = _read(folder, body, header)
    assert document.notes == ()
    return document.pages[0].text


LAMP = r"{\*\picprop{\sp{\sn wzDescription}{\sv A lamp}}}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"One\par Two\line three\par}", "One\n\nTwo\nthree"),
        (r"10{\super 6}, H{\sub 2}O, e{\super x+1}, {\strike 9} 8", "10^6, H_2O, e^(x+1), ~~9~~ 8"),
        (r"caf\'e9 \u8364? {\uc0\u8364}5 {\uc2\u945ab}x \emdash \{b\} a\~b", "café € €5 αx —{b} a b"),
        (r"\u-10179?\u-8704? done", "😀 done"),
        (b"M\xfcller \x80", "Müller €"),
        (r"# no heading", r"\# no heading"),
        (r'{\field{\*\fldinst{HYPERLINK "https://a.b/c"}}{\fldrslt{page}}} end', "[page](https://a.b/c) end"),
        (r"{\field{\*\fldinst PAGE}{\fldrslt 3}}", "3"),
        (r"{\listtext\'b7\tab}a\par{\listtext\'b7\tab}b\par{\listtext(ii)\tab}c\par", "- a\n- b\n\n(ii) c"),
        (r"{\mmath{\*\moMath{\mf{\mfPr{\mtype bar}}{\mnum{\mr a}}{\mden{\mr 2}}}}}", "a/2"),
        (r"{\*\unknown gone}kept{\*\bkmkstart mark}", "kept"),
        (r"a{\*\shppict{\pict" + LAMP + r"ffd8ff}}{\nonshppict{\pict 00}}", "a A lamp"),
        (r"a{\shp{\*\shpinst{\sp{\sn x}{\sv 2}}{\shptxt A box\par}}{\shprslt{\*\do y}}}\par b", "a\n\nA box\n\nb"),
        (r"a\bin4 }}{{b", "ab"),
    ],
)  # fmt: skip
def test_a_line_says_what_a_reader_sees(tmp_path: Path, body: str | bytes, expected: str) -> None:
    assert _text(tmp_path, body) == expected


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        (204, r"\'cc\'ee\'f1\'ea\'e2\'e0", "Москва"),
        (238, r"\'a3\'f3d\'9f", "Łódź"),
        (128, r"\'93\'fa\'96\'7b", "日本"),
        (134, r"\'d6\'d0\'ce\'c4", "中文"),
        (161, r"\'c1\'e8\'de\'ed\'e1", "Αθήνα"),
    ],
)
def test_fonts_have_encodings(tmp_path: Path, charset: int, data: str, expected: str) -> None:
    fonts = rf"{{\fonttbl{{\f0\fcharset0 Arial;}}{{\f1\fcharset{charset} Other;}}}}"
    assert _text(tmp_path, rf"{fonts}\f0 caf\'e9 {{\f1 {data}}} \'80") == f"café {expected} €"


def test_headings_come_from_styles(tmp_path: Path) -> None:
    styles = (
        r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s2 Title;}{\s3\outlinelevel1 Clause;}{\*\cs9 x;}}"
    )
    body = r"\pard\s2 The book\par\pard\s1 Hours\par\pard\s3{\listtext 1.2\tab}Winter\par\pard Open.\par"
    document = _read(tmp_path, styles + body)
    assert document.pages[0].text == "# The book\n\n# Hours\n\n## 1.2 Winter\n\nOpen."
    assert document.title == "The book"


def test_notes_comments_headers_and_metadata_are_read(tmp_path: Path) -> None:
    body = (
        r"{\info{\title A report}{\author Ann Lee}{\creatim\yr2024\mo5\dy1\hr10\min7}{\doccomm Draft}}\aftnnrlc"
        r"{\header Top\par}{\headerf Top\par}{\footer Bottom}In 1998{\super\chftn}{\footnote{\super\chftn} They say.}"
        r"{\super\chftn}{\footnote\ftnalt{\super\chftn} The end.}{\*\atnid AL}{\*\atnauthor Ann}"
        r"\chatn{\*\annotation{\*\atnref 1}Really?} or so.\par After."
    )
    document = _read(tmp_path, body)
    assert document.pages[0].text.split("\n\n") == [
        *("Header: Top", "Footer: Bottom", "In 1998[1][i] or so."),
        *("[1] They say.", "[i] The end.", "Comment by Ann: Really?", "After."),
    ]
    assert document.title == "A report"
    assert document.metadata == {
        "title": "A report",
        "author": "Ann Lee",
        "created": "2024-05-01T10:07",
        "description": "Draft",
    }


def test_tables_are_tables(tmp_path: Path) -> None:
    row = r"\trowd{}\pard\intbl {}\row"
    cells = [
        row.format(r"\clmgf\cellx1\clmrg\cellx2", r"Size\cell\cell"),
        row.format(r"\clvmgf\cellx1\cellx2", r"Big\par one\cell red{\footnote 7.}\cell"),
        row.format(r"\clvmrg\cellx1\cellx2", r"\cell blue\cell"),
    ]
    text = _text(tmp_path, "".join(cells) + r"\pard After\par")
    assert text == "| Size | Size |\n| --- | --- |\n| Big one | red |\n| Big one | blue |\n\nNote: 7.\n\nAfter"


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    body = (
        r"{\fonttbl{\f1\fcharset2 Wingdings;}}Seen {\v secret}{\deleted gone}{\f1 n}\u-3987?{\pict ffd8}"
        r"{\object\objemb{\*\objdata 0105}{\result}}{\field{\*\fldinst FORMCHECKBOX {\*\formfield{\fftype1}}}}"
    )
    document = _read(tmp_path, body + r"\'81")
    assert document.pages[0].text == "Seen ���"
    assert document.notes == (
        "Left out: embedded objects (1), form fields (1), pictures without a description (1), "
        "stretches of hidden text (1), tracked deletions (1).",
        "Characters that are none in their encoding, written as �: 1.",
        "Characters of symbol fonts, written as �: 2.",
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"plain text", "not in Rich Text"), (b"{\\rtf1" + b"{" * 5000, "nested too deeply"), (b"{\\rtf1}", "no text")],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.rtf").write_bytes(data)
    with pytest.raises(DocumentError, match=reason):
        read_document(tmp_path / "a.rtf")
