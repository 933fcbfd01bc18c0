"""Text files in any encoding: exact where it can be known, noted where it was guessed."""

import codecs
from pathlib import Path

import pytest

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import Document, read_document

TEXTS = {
    "cp1252": [
        "The fee is £7.",
        "Entry costs £7 for adults and £3.50 for children.",
        "Price: €1,299",
        "Müller",
        "Herr Müller wohnt in der Straße 5 in Köln.",
        "Die Gebühr beträgt 12 € je Stück.",
        "Ce billet coûte 7 €, taxes comprises.",
        "Ça coûte très cher.",
        "L’été dernier, l’hôtel était fermé.",
        "“Don’t touch it,” she said — and left.",
        "The café’s opening hours are 9–17.",
        "El niño comió piñas mañana y año.",
        "¿Cuánto cuesta? ¡Sólo 5 €!",
        "A reunião não é amanhã; o preço é 30 €.",
        "Il prezzo è 45 €, perché è già scontato.",
        "Smörgåsbord på Öland kostar 95 kr.",
        "Rødgrød med fløde, æbler og blåbær.",
        "De coëfficiënt is één komma drie.",
        "Temperature: 21 °C ± 0.5 °C, area 12 m²",
        "Jürgen, François and Zoë met in Málaga.",
        "© 2024 Société Générale. All rights reserved.",
        "Section 4 § 2: “Interest” is 3½ %.",
        "naïve résumé",
    ],
    "iso-8859-15": [
        "Le prix est de 25 € par mois.",
        "Die Miete beträgt 850 € monatlich, zuzüglich Nebenkosten für Wärme.",
        "Cœur de bœuf : 4 € le kilo.",
        "Hinta on 12 €, ja määrä on täynnä.",
        "Une sœur a reçu 100 € pour Noël.",
    ],
    "cp1250": [
        "Cena wynosi 25 zł za sztukę.",
        "Zażółć gęślą jaźń.",
        "Příliš žluťoučký kůň úpěl ďábelské ódy.",
        "Vstupné činí 120 Kč, pro děti zdarma.",
        "Az ár 1 500 forint, a belépő ingyenes hétfőn.",
        "Őrült költség: 30 € minden hónapban.",
        "„Otwarte codziennie” — mówi dyrektor Łukasz.",
        "Čaša vode košta pet kuna u Šibeniku.",
    ],
    "iso-8859-2": [
        "Proszę zapłacić do końca miesiąca.",
        "Škola je zavřená od pátku do neděle.",
        "A könyvtár szombaton zárva van, kérjük, telefonáljon.",
        "Książka leży na półce obok łóżka.",
    ],
    "cp1251": [
        "Цена: 700 рублей",
        "Музей открыт ежедневно с десяти до шести.",
        "Договор № 15 от 3 марта",
        "Она сказала: «Приходите завтра».",
        "Ціна квитка — 50 грн, діти безкоштовно.",
        "Цената е 20 лева за възрастни.",
        "Стоимость €40 за ночь, завтрак включён.",
    ],
    "koi8-r": [
        "Цена билета сто рублей.",
        "Музей закрыт по понедельникам.",
        "Привет, мир! Как дела?",
        "Отчёт за первый квартал готов.",
    ],
    "cp1253": [
        "Η τιμή είναι 15 € το άτομο.",
        "Το μουσείο είναι ανοιχτό κάθε μέρα.",
        "«Καλημέρα», είπε ο Γιώργος.",
        "Ώρες λειτουργίας: 9–17",
    ],
    "cp1254": [
        "Fiyatı 25 € değil, 25 lira.",
        "Müze pazartesi günleri kapalıdır.",
        "İstanbul’da güneşli bir gün, şemsiye gerekmez.",
        "Çocuklar için giriş ücretsizdir, yetişkinler 10 €.",
    ],
    "cp1257": [
        "Bilieto kaina – 12 €, vaikams nemokamai.",
        "Muziejus atidarytas kiekvieną dieną, išskyrus pirmadienį.",
        "Biļetes cena ir 10 € pieaugušajiem.",
        "Õhtul on muuseum suletud, pääse maksab 8 €.",
    ],
    "shift_jis": [
        "入場料は700円です。",
        "月曜日は休館です。",
        "「明日来てください」と彼女は言った。",
        "価格：￥1200（税込）",
        "コーヒーは一杯３００円。",
    ],
    "gb18030": [
        "门票价格为七十元。",
        "博物馆每天开放，星期一除外。",
        "她说：“请明天来。”",
        "价格：￥120，含税。",
        "合同编号第十五条，利率为百分之三。",
        "早餐包含在内，每晚€40。",
    ],
    "big5": [
        "門票價格為七十元。",
        "博物館每天開放，星期一休館。",
        "她說：「請明天來。」",
        "合約第十五條規定利率為百分之三。",
        "圖書館週末不開放，請先打電話。",
    ],
}
"""Short texts with accents, quotation marks and currency signs, as people have them in old files."""


def _read(path: Path, data: bytes) -> Document:
    path.write_bytes(data)
    return read_document(path)


def test_old_encodings_are_guessed_and_noted(tmp_path: Path) -> None:
    cases = [(encoding, text) for encoding, texts in TEXTS.items() for text in texts]
    documents = [_read(tmp_path / "a.txt", text.encode(encoding)) for encoding, text in cases]
    wrong = [case for case, document in zip(cases, documents, strict=True) if document.pages[0].text != case[1]]
    assert len(cases) == 79
    assert len(wrong) <= 3, wrong
    assert all("encoding was guessed" in document.notes[0] for document in documents)


@pytest.mark.parametrize(
    ("data", "text", "note"),
    [
        (
            "Müller wohnt in Köln.\nEr zahlt 7 €.".encode().replace(b"zahlt", b"z\xe4hlt"),
            "Er z\ufffdhlt 7 €.",
            "line 2",
        ),
        (codecs.BOM_UTF16_LE + "Größe".encode("utf-16-le"), "Größe", None),
        (codecs.BOM_UTF16_BE + "Größe".encode("utf-16-be") + b"\xd8", "Größe\ufffd", "1 place is not valid utf-16-be"),
        ("Größe und Gewicht".encode("utf-32"), "Größe und Gewicht", None),
        ("Größe und Gewicht".encode("utf-16-le"), "Größe und Gewicht", "guessed: read as utf-16-le"),
        ("入場料は700円です。".encode("iso-2022-jp"), "入場料は700円です。", "guessed: read as iso"),
        (b"# -*- coding: koi8-r -*-\nname = \xf0", "name = П", None),
        (b'<?xml version="1.0" encoding="iso-8859-2"?><a>\xb1</a>', "<a>ą</a>", None),
        (b'<meta charset="latin-1">\x80', "€", None),
        (b"# coding: zlib\n\xa35", "£5", "guessed: read as cp1252"),
        (
            b"10:00 start\n10:01 dis\0k\n10:02 end",
            "10:01 dis\ufffdk\n10:02 end",
            "1 place became \ufffd, the first in line 2",
        ),
        (b"\0" * 5000 + b"10:00 start, and on it goes with words", "\ufffd10:00 start", "Null characters in 1 place"),
    ],
)
def test_what_is_declared_holds_and_what_is_replaced_is_noted(
    tmp_path: Path, data: bytes, text: str, note: str | None
) -> None:
    document = _read(tmp_path / "a.txt", data)
    assert text in document.pages[0].text
    assert (note in document.notes[0]) if note else not document.notes


@pytest.mark.parametrize("data", [bytes(range(256)) * 9, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0", b"\0" * 50])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DocumentError, match="not a text file"):
        _read(tmp_path / "a.txt", data)
