"""Vector stores beyond the index folder: a Chroma server or folder and LanceDB, behind one protocol.

Each holds rows, see `rows`, all made with one model, whose fingerprint the store keeps. `jina-rag index` fills one, and
`Retriever.open` searches it by its address:

    chroma://HOST[:PORT]/COLLECTION       a Chroma server over HTTP, usually at port 8000
    chromas://HOST[:PORT]/COLLECTION      the same over TLS, usually at port 443
    chroma+file://FOLDER#COLLECTION       a folder of Chroma, opened in this process
    lance://FOLDER#TABLE                  a folder of LanceDB

The collection or table of a folder is "documents" unless it is named. Settings of a server follow a question mark, see
`StoreAddress`. A token is never part of an address, which names the environment variable that holds it:
`?key_env=CHROMA_API_KEY`. Without that no token is sent.
"""

from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.vector_stores.address import StoreAddress, is_store_address
from jina_rag.rag.vector_stores.base import DocumentState, Found, VectorStore

__all__ = ["DocumentState", "Found", "StoreAddress", "VectorStore", "is_store_address", "open_store"]


def open_store(
    address: StoreAddress | str, fingerprint: Fingerprint | None = None, *, create: bool = False
) -> VectorStore:
    """The store at an address.

    Args:
        address: Where it is.
        fingerprint: What its vectors must be made with; None takes those that it holds.
        create: Make it where there is none, for vectors of `fingerprint`.

    Raises:
        StoreError: the address names none, or it can't be used.
        StoreNotFoundError: there is none, and `create` is False.
        StoreUnavailableError: its server can't be reached.
        FingerprintMismatchError: it holds another model's vectors, or nothing says which.
        MissingDependencyError: the store's package is not installed.
    """
    place = StoreAddress.parse(address) if isinstance(address, str) else address
    if create and fingerprint is None:
        raise ValueError("A new store needs the fingerprint of its vectors.")
    if place.kind == "lance":
        from jina_rag.rag.vector_stores.lance import LanceStore

        return LanceStore.open(place, fingerprint, create=create)
    from jina_rag.rag.vector_stores.chroma import ChromaStore

    return ChromaStore.open(place, fingerprint, create=create)
