"""What an index keeps: documents and chunks in SQLite, which is the truth, and vectors in Chroma, which follows it.

A change is one transaction of SQLite, which also notes the chunks that it touched as dirty. Chroma then follows, and
the note goes. A search asks Chroma, and compares with what is dirty itself; so it finds what SQLite holds at every
moment, also after a kill, on a full disk and without Chroma.

A text is kept three times. `chunks` in SQLite holds it as it is: it is shown, exported and embedded again for another
model. SQLite's full-text index holds its words, because only with a copy of its own can FTS5 delete a chunk without
being given its text again. Chroma holds it so that LangChain, LlamaIndex and plain Chroma find passages there
and not bare vectors. A vector is kept twice: in SQLite by the digest of its text, so that nothing is embedded twice and
Chroma can be made again at any time; in Chroma in a graph (HNSW), because comparing with every vector takes too long
in a large index.
"""
