"""Rich Text Format, as Word, WordPad and LibreOffice write it (Microsoft's RTF specification 1.9.1)."""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field

from jina_rag.errors import DocumentError
from jina_rag.rag.documents.formats.numbering import format_number
from jina_rag.rag.documents.formats.writing import (
    BULLET,
    Piece,
    Script,
    escape_blocks,
    join_blocks,
    join_pieces,
    linked,
    list_item,
    table_block,
    trim_lines,
)
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile

_TOKEN = re.compile(
    rb"\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?[0-9]{1,9})? ?|\\'(?P<byte>[0-9a-fA-F]{2})|\\(?P<sign>[^a-zA-Z])"
    rb"|(?P<brace>[{}])|(?P<line>[\r\n\0]+)|(?P<text>[^\\{}\r\n\0]+)|\\",
    re.DOTALL,
)
_MAX_DEPTH = 1000
_LINK = re.compile(r'\s*HYPERLINK\s+"([^"]{1,2000})"')
_HEADING = re.compile(r"heading ([1-9])|title", re.IGNORECASE)

_CODE_PAGES = {"ansi": "cp1252", "mac": "mac_roman", "pc": "cp437", "pca": "cp850"}
_CHARSETS = {
    **{0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "cp950"},
    **{161: "cp1253", 162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251"},
    **{222: "cp874", 238: "cp1250", 254: "cp437", 255: "cp850"},
}
"""The code page of a font's \\fcharset."""
_SYMBOLS = 2  # the \fcharset of fonts whose characters are pictures

_CHARACTERS = {
    **{
        "tab": "\t",
        "line": "\n",
        "lbr": "\n",
        "emdash": "—",
        "endash": "–",
        "bullet": "•",
        "lquote": "‘",
        "rquote": "’",
    },
    **{
        "ldblquote": "“",
        "rdblquote": "”",
        "emspace": " ",
        "enspace": " ",
        "qmspace": " ",
        "nestcell": " ",
        "zwj": "\u200d",
    },
    **{"zwnj": "\u200c", "~": " ", "_": "-", "\\": "\\", "{": "{", "}": "}"},
}
_PARAGRAPH_ENDS = ("par", "sect", "page", "column", "\n", "\r", "nestrow")
_STORIES = {
    **dict.fromkeys(("header", "headerl", "headerr", "headerf"), "Header"),
    **dict.fromkeys(("footer", "footerl", "footerr", "footerf"), "Footer"),
    **{name: name for name in ("footnote", "annotation", "atnauthor", "shptxt", "fldinst", "sn", "sv", "listtext")},
    **{"pntext": "listtext", "dptxbxtext": "shptxt"},
    **{name: name for name in ("title", "author", "subject", "keywords", "doccomm", "creatim", "revtim")},
}
"""Parts with text apart from that around them, and what is done with it."""
_METADATA = {
    **{name: name for name in ("title", "author", "subject", "keywords")},
    **{"doccomm": "description", "creatim": "created", "revtim": "modified"},
}
_READ_IF_OPTIONAL = frozenset((*_STORIES, "shpinst", "shppict", "picprop", "do", "moMath", "moMathPara"))
"""Parts with a \\* before them that are read; all others are, as the specification says, passed over."""
_NO_TEXT = """
colortbl filetbl listtable listoverridetable revtbl rsidtbl nonshppict shprslt mmathPict nonesttables xe tc rxe txe
fontemb themedata blipuid pn operator company category manager hlinkbase template formfield
"""
_PASSED_OVER = frozenset(_NO_TEXT.split())
_NUMBER_FORMATS = {
    "ar": "decimal",
    "alc": "lowerLetter",
    "auc": "upperLetter",
    "rlc": "lowerRoman",
    "ruc": "upperRoman",
}
_EQUATION_MARKS = {"msup": "^", "msub": "_", "mden": "/", "mrad": "√"}


def read_rtf(file: SourceFile) -> Document:
    """A document in Rich Text Format as Markdown, in the same way as a Word document (see `read_docx`).

    Raises:
        DocumentError: it is in another format, or nested too deeply.
    """
    if not file.data.lstrip()[:5].lower().startswith(b"{\\rtf"):
        raise DocumentError(f"{file.path} is not in Rich Text Format. Save it again from where it came.")
    reader = _Reader(file)
    reader.read()
    text = join_blocks(file.up_to_limit(reader.blocks(), len))
    reader.write_notes()
    title = first_heading(text) or reader.metadata.get("title") or file.path.stem
    return Document(str(file.path), title, (Page(None, text),), is_markdown=True, metadata=reader.metadata)


@dataclass
class _Story:
    """A part of the document whose text is apart from that around it: the body, a footnote, a header."""

    kind: str
    pieces: list[Piece] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    following: list[str] = field(default_factory=list)  # what comes after the paragraph
    cells: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    label: str = ""
    number: int = 0


@dataclass
class _State:
    """What holds until the end of a group."""

    story: _Story | None
    part: str = ""  # the destination that the group is
    encoding: str = ""  # of the font; empty for that of the document
    is_symbol: bool = False
    skipped: int = 1  # characters after one in Unicode that stand for it in older programs
    is_hidden: bool = False
    is_deleted: bool = False
    script: Script = ""
    style: int = 0
    outline: int | None = None
    in_table: bool = False
    n_pieces: int = 0  # of the story where a field's result begins


class _Reader:
    def __init__(self, file: SourceFile) -> None:
        self.metadata: dict[str, str] = {}
        self._file = file
        self._body = _Story("body")
        self._state = _State(self._body)
        self._stack: list[_State] = []
        self._encoding = "cp1252"
        self._fonts: dict[int, int] = {}
        self._font = 0
        self._levels: dict[int, int] = {}
        self._bytes = bytearray()
        self._to_skip = 0
        self._is_optional = False
        self._position = 0
        self._margins: dict[str, None] = {}  # headers and footers, each text once
        self._left_out: Counter[str] = Counter()
        self._n_undecoded = self._n_symbols = 0
        self._note_formats = {"footnote": "decimal", "endnote": "decimal"}
        self._n_notes: Counter[str] = Counter()
        self._note_label = "Note:"
        self._author = self._property = self._link = ""
        self._merges: list[str] = []
        self._cell_merge = ""

    def read(self) -> None:
        data = self._file.data
        while self._position < len(data) and (match := _TOKEN.match(data, self._position)):
            self._position = match.end()
            if match.lastgroup in ("byte", "text"):
                self._characters(bytes.fromhex(match[0][2:].decode()) if match["byte"] else match[0])
                continue
            if match.lastgroup == "line":
                continue
            self._decode()
            if brace := match["brace"]:
                self._open() if brace == b"{" else self._close()
                if not self._stack and brace == b"}":
                    break
            elif match["word"]:
                self._word(match["word"].decode(), int(match["number"]) if match["number"] else None)
            elif match["sign"]:
                self._sign(match["sign"].decode("latin-1"))
        self._decode()
        self._end_paragraph(self._body)
        self._end_table(self._body)

    def blocks(self) -> Iterator[str]:
        yield from self._margins
        yield from self._body.blocks

    def write_notes(self) -> None:
        self._file.note_left_out(self._left_out)
        guesses = {
            "Characters that are none in their encoding, written as \ufffd": self._n_undecoded,
            "Characters of symbol fonts, written as \ufffd": self._n_symbols,
        }
        self._file.notes += [f"{what}: {number:,}." for what, number in guesses.items() if number]

    # Groups.

    def _open(self) -> None:
        self._to_skip = 0
        if len(self._stack) >= _MAX_DEPTH:
            raise DocumentError(f"{self._file.path} is nested too deeply to be read. Save it in a simpler form.")
        self._stack.append(self._state)
        self._state = copy(self._state)
        if self._state.part == "stylesheet":
            self._state.story = _Story("style")

    def _close(self) -> None:
        self._to_skip = 0
        ended = self._state
        if not self._stack:
            return
        self._state = self._stack.pop()
        story, outer = ended.story, self._state.story
        if story is not None and story is not outer:
            self._end_story(story, outer)
        elif ended.part == "fldrslt" != self._state.part and story and self._link:
            text = join_pieces(story.pieces[ended.n_pieces :])
            story.pieces[ended.n_pieces :] = [Piece(linked(text, self._link))]
            self._link = ""

    def _end_story(self, story: _Story, outer: _Story | None) -> None:
        if story.kind in _METADATA:
            self._end_property(story)
            return
        if story.kind == "style":
            if match := _HEADING.match(join_pieces(story.pieces).strip(" ;")):
                self._levels.setdefault(story.number, min(6, int(match[1] or 1)))
            return
        self._end_paragraph(story)
        self._end_table(story)
        text = " ".join(" ".join(story.blocks).split())
        if story.kind in ("Header", "Footer") and text:
            self._margins[f"{story.kind}: {text}"] = None
        elif story.kind == "atnauthor":
            self._author = text
        elif story.kind == "fldinst":
            match = _LINK.match(text)
            self._link = match[1] if match else ""
        elif story.kind == "sn":
            self._property = text
        elif outer is not None:
            self._end_inner(story, outer, text)

    def _end_property(self, story: _Story) -> None:
        text = " ".join(_joined(story.pieces).split()) or story.label
        if text:
            self.metadata[_METADATA[story.kind]] = text

    def _end_inner(self, story: _Story, outer: _Story, text: str) -> None:
        """Add the text of a part to the story around it."""
        if story.kind == "listtext":
            outer.label = f"{text} " if any(map(str.isalnum, text)) else BULLET
        elif story.kind == "sv" and self._property in ("wzDescription", "gtextUNICODE") and text:
            is_picture = self._state.part == "picprop" and self._property == "wzDescription"
            self._left_out["pictures without a description"] -= is_picture
            outer.pieces.append(Piece(f" {text} "))
        elif story.kind == "footnote" and text:
            outer.following.append(f"{self._note_label} {text}")
            self._note_label = "Note:"
        elif story.kind == "annotation" and text:
            outer.following.append(f"Comment by {self._author}: {text}" if self._author else f"Comment: {text}")
        elif story.kind == "shptxt":
            outer.following += story.blocks

    # Control words.

    def _word(self, word: str, number: int | None) -> None:
        if self._to_skip and word in _CHARACTERS:
            self._to_skip -= 1
            return
        is_optional, self._is_optional = self._is_optional, False
        if word in _STORIES or word in _PASSED_OVER or is_optional or word.endswith("Pr"):
            self._begin_group(word, is_optional=is_optional)
        elif word in _CHARACTERS:
            self._add(_CHARACTERS[word])
        elif word in _PARAGRAPH_ENDS:
            self._end_paragraph(self._state.story)
        elif word in _EQUATION_MARKS:
            self._add(_EQUATION_MARKS[word])
        if word in _WORDS:
            _WORDS[word](self, 1 if number is None else number)
        elif word in _CODE_PAGES:
            self._encoding = _CODE_PAGES[word]
        elif word in _DATES and self._state.story is not None:
            self._state.story.label += _DATES[word].format(1 if number is None else number)
        elif match := _NOTE_FORMAT.fullmatch(word):
            self._note_formats["endnote" if match[1] else "footnote"] = _NUMBER_FORMATS[match[2]]

    def _begin_group(self, word: str, *, is_optional: bool) -> None:
        """Begin a part whose text is apart, or is passed over."""
        if word in _STORIES:
            self._state.story = _Story(_STORIES[word]) if self._state.story is not None else None
            self._state.part = ""
        elif word in _PASSED_OVER or word not in _READ_IF_OPTIONAL or not is_optional:
            self._left_out["form fields"] += word == "formfield"
            self._state.story = None

    def _sign(self, sign: str) -> None:
        if sign == "*":
            self._is_optional = True
        elif sign in _PARAGRAPH_ENDS:
            self._end_paragraph(self._state.story)
        elif self._to_skip:
            self._to_skip -= 1
        elif sign in _CHARACTERS:
            self._add(_CHARACTERS[sign])

    def _begin_part(self, part: str) -> None:
        self._state.part = part
        if part == "pict":
            self._left_out["pictures without a description"] += self._state.story is not None
        if part == "object":
            self._left_out["embedded objects"] += self._state.story is not None
        if part == "fldrslt" and self._state.story is not None:
            self._state.n_pieces = len(self._state.story.pieces)

    def _set_font(self, number: int) -> None:
        self._font = number
        charset = self._fonts.get(number, 1)
        self._state.is_symbol = charset == _SYMBOLS
        self._state.encoding = _CHARSETS.get(charset, "")

    def _set_charset(self, number: int) -> None:
        self._fonts[self._font] = number

    def _set_code_page(self, number: int) -> None:
        try:
            self._encoding = codecs.lookup(f"cp{number}").name
        except LookupError:
            self._encoding = "utf-8" if number == 65001 else "cp1252"

    def _set_style(self, number: int) -> None:
        self._state.style = number
        if self._state.story is not None and self._state.story.kind == "style":
            self._state.story.number = number

    def _set_outline(self, number: int) -> None:
        self._state.outline = number
        story = self._state.story
        if story is not None and story.kind == "style":
            self._levels[story.number] = min(6, number + 1) if 0 <= number < 9 else 0

    def _reset_characters(self) -> None:
        state = self._state
        state.is_hidden = state.is_deleted = state.is_symbol = False
        state.script, state.encoding = "", ""

    def _reset_paragraph(self) -> None:
        self._state.style, self._state.outline, self._state.in_table = 0, None, False

    def _set_state(self, name: str, value: object) -> None:
        setattr(self._state, name, value)

    def _skip_binary(self, n_bytes: int) -> None:
        self._position += max(0, n_bytes)

    def _unicode(self, number: int) -> None:
        code = number + 0x10000 if number < 0 else number
        if 0xF000 <= code <= 0xF0FF:  # a place in a symbol font
            self._add_symbol()
        elif 0 <= code <= 0x10FFFF:
            self._add(chr(code))
        self._to_skip = self._state.skipped

    def _note_number(self) -> None:
        """The mark of a footnote, in the text; in the note itself its label says it."""
        story = self._state.story
        if story is None or story.kind == "footnote":
            return
        begin = self._file.data.find(b"\\footnote", self._position, self._position + 1000)
        kind = "endnote" if begin >= 0 and _ENDNOTE.match(self._file.data, begin) else "footnote"
        self._n_notes[kind] += 1
        number = self._n_notes[kind]
        self._note_label = f"[{format_number(number, self._note_formats[kind]) or number}]"
        story.pieces.append(Piece(self._note_label))

    # Text.

    def _characters(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        if self._state.story is not None and self._state.part not in ("pict", "fonttbl"):
            self._bytes += data

    def _decode(self) -> None:
        """Add the bytes that were gathered: characters of several bytes may be written one by one."""
        if not self._bytes:
            return
        data, self._bytes = bytes(self._bytes), bytearray()
        if self._state.is_symbol:
            for _ in data.strip():
                self._add_symbol()
            return
        text = data.decode(self._state.encoding or self._encoding, "replace")
        self._n_undecoded += text.count("\ufffd")
        self._add(text)

    def _add_symbol(self) -> None:
        story = self._state.story
        self._n_symbols += story is not None and story.kind != "listtext"
        self._add("\ufffd")

    def _add(self, text: str) -> None:
        state = self._state
        if state.story is None or state.part in ("pict", "fonttbl"):
            return
        if state.is_hidden or state.is_deleted:
            kind = "tracked deletions" if state.is_deleted else "stretches of hidden text"
            self._left_out[kind] += bool(text.strip())
        else:
            state.story.pieces.append(Piece(text, state.script))

    def _paragraph_text(self, story: _Story) -> str:
        text = _joined(story.pieces)
        story.pieces.clear()
        return trim_lines(text)

    def _end_paragraph(self, story: _Story | None) -> None:
        if story is None or story.kind in ("style", *_METADATA):
            return
        text, label = self._paragraph_text(story), story.label
        story.label = ""
        if self._state.in_table and story is self._state.story:
            story.pieces.append(Piece(f"{label}{text} "))
            return
        self._end_table(story)
        level = self._levels.get(self._state.style, 0)
        if self._state.outline is not None:
            level = min(6, self._state.outline + 1) if 0 <= self._state.outline < 9 else 0
        if not text:
            pass
        elif level and story is self._body:
            story.blocks.append(f"{'#' * level} {label.removeprefix(BULLET)}{' '.join(text.split())}")
        elif label == BULLET:
            story.blocks.append(list_item(text, 0))
        else:
            story.blocks.append(label + text if label else escape_blocks(text))
        story.blocks += story.following
        story.following.clear()

    # Tables.

    def _end_cell(self) -> None:
        if (story := self._state.story) is not None:
            text = self._paragraph_text(story)
            story.cells.append(f"{story.label}{text}")
            story.label = ""

    def _end_row(self) -> None:
        if (story := self._state.story) is not None:
            above = story.rows[-1] if story.rows else []
            for place, merge in enumerate(self._merges[: len(story.cells)]):
                if not story.cells[place] and merge == "clmrg" and place:
                    story.cells[place] = story.cells[place - 1]
                elif not story.cells[place] and merge == "clvmrg" and place < len(above):
                    story.cells[place] = above[place]
            story.rows.append(story.cells)
            story.cells = []

    def _end_table(self, story: _Story) -> None:
        if story.cells:  # the row was not ended
            story.rows.append(story.cells)
            story.cells = []
        if not story.rows:
            return
        rows, story.rows = story.rows, []
        following, story.following = story.following, []
        story.blocks += [table_block(self._file, rows), *following]

    def _begin_row(self) -> None:
        self._merges, self._cell_merge = [], ""

    def _merge(self, kind: str) -> None:
        self._cell_merge = kind

    def _define_cell(self) -> None:
        self._merges.append(self._cell_merge)
        self._cell_merge = ""


def _joined(pieces: list[Piece]) -> str:
    """Their text; a character beyond the first plane of Unicode is written as the two halves of UTF-16."""
    return join_pieces(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_ENDNOTE = re.compile(rb"\\footnote\s*\\ftnalt")
_NOTE_FORMAT = re.compile("(a)?ftnn(ar|alc|auc|rlc|ruc)")
_DATES = {"yr": "{:04}", "mo": "-{:02}", "dy": "-{:02}", "hr": "T{:02}", "min": ":{:02}"}
_SCRIPTS: dict[str, Script] = {"super": "^", "sub": "_"}


def _setting(name: str, value: object, off: object) -> Callable[[_Reader, int], None]:
    return lambda reader, number: reader._set_state(name, value if number else off)


def _call(method: Callable[[_Reader], None]) -> Callable[[_Reader, int], None]:
    return lambda reader, _: method(reader)


def _part(name: str) -> Callable[[_Reader, int], None]:
    return lambda reader, _: reader._begin_part(name)


def _merging(name: str) -> Callable[[_Reader, int], None]:
    return lambda reader, _: reader._merge(name)


_WORDS: dict[str, Callable[[_Reader, int], None]] = {
    **{name: _part(name) for name in ("pict", "picprop", "fonttbl", "stylesheet", "object", "fldrslt")},
    **{name: _setting("script", script, "") for name, script in _SCRIPTS.items()},
    "nosupersub": _setting("script", "", ""),
    **dict.fromkeys(("strike", "striked"), _setting("script", "~~", "")),
    "v": _setting("is_hidden", True, False),
    "deleted": _setting("is_deleted", True, False),
    "intbl": _setting("in_table", True, False),
    "plain": _call(_Reader._reset_characters),
    "pard": _call(_Reader._reset_paragraph),
    "f": _Reader._set_font,
    "fcharset": _Reader._set_charset,
    "ansicpg": _Reader._set_code_page,
    "s": _Reader._set_style,
    "outlinelevel": _Reader._set_outline,
    "uc": lambda reader, number: reader._set_state("skipped", max(0, min(number, 100))),
    "u": _Reader._unicode,
    "bin": _Reader._skip_binary,
    "chftn": _call(_Reader._note_number),
    "cell": _call(_Reader._end_cell),
    "row": _call(_Reader._end_row),
    "trowd": _call(_Reader._begin_row),
    "cellx": _call(_Reader._define_cell),
    **{name: _merging(name) for name in ("clmrg", "clvmrg")},
}
