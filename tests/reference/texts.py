"""The texts that references are made of: plain ones, and those that tokenizers get wrong."""

TEXTS = {
    "plain": "The lighthouse keeper wrote down the weather every morning.",
    "question": "Who kept the weather diary?",
    "one letter": "x",
    "empty": "",
    "leading spaces": "   three spaces come first",
    "trailing spaces": "three spaces come last   ",
    "newlines": "\nfirst line\n\n\nfourth line\r\nfifth line\n",
    "tabs and digits": "\tyear\t1908\n\tyear\t2026",
    "emoji": "Sailing ⛵ under the 🌈 with 👩‍👩‍👧‍👦 and 😀😃😄",
    "japanese": "灯台守は毎朝、天気を日記に書いた。",
    "arabic": "كتب حارس المنارة الطقس كل صباح.",
    "accents composed": "Où était le phare? Caf\u00e9, na\u00efve, \u00c5ngstr\u00f6m.",
    "accents decomposed": "Ou\u0300 e\u0301tait le phare? Cafe\u0301, nai\u0308ve, A\u030angstro\u0308m.",
    "literal special token": "A <|endoftext|> in the middle, and at the end <|endoftext|>",
    "literal bert token": "A [SEP] in the middle of a [MASK] text",
    "code": "def f(x):\n    return {'a': x ** 2}  # squared\n",
    "contractions": "It's what they'd've said: we'll, I'M, don't.",
    "long": " ".join(f"Entry {day}: wind force {day % 9}, sea state {day % 6}, visibility good." for day in range(50)),
}
