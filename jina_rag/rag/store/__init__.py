"""What an index keeps: documents and chunks in SQLite, vectors in Chroma."""
