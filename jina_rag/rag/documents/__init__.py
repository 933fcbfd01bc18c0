"""Files in, text out: which files are documents, and how one is read without harm."""
