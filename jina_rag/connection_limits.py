"""What the connections of a server may take: the defaults of server, MCP and app alike."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What a server's connections may take; `jina_rag.connections` sees to it.

    Attributes:
        max_connections: At a time. A further one closes the connection that has kept the server waiting longest for a
            request or the rest of one; if none does, the newcomer is closed.
        header_timeout: Seconds from the connection, or from a request's first byte, until its headers are complete.
        answer_timeout: Seconds in which a client must take an answer.
    """

    max_connections: int = 768
    header_timeout: float = 20.0
    answer_timeout: float = 120.0
