"""Passages for a query: search, fusion, reranking and snippets."""
