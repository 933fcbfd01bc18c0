"""Scripts whose words are written together."""

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"
"""The characters of scripts without blanks between words, as a class of a regular expression: each is a word here."""
