"""Text as such: tokens, sentences and cleaning."""
