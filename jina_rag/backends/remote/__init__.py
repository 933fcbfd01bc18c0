"""Models behind an address: OpenAI, TEI, Jina and Elastic protocols."""
