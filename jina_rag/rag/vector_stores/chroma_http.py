"""Chroma's HTTP client over our connection: bounded in time and size, tried again, without redirects."""

import math
import os
from typing import Any
from urllib.parse import quote, urlencode

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.http import FIRST_ANSWER_TIMEOUT_S, HttpConnection, StatusError
from jina_rag.errors import (
    BackendError,
    BackendUnavailableError,
    MissingDependencyError,
    StoreError,
    StoreUnavailableError,
)
from jina_rag.rag.vector_stores.address import StoreAddress

try:
    import orjson
    from chromadb.api.fastapi import FastAPI
    from chromadb.api.models.Collection import Collection
    from chromadb.config import Settings, System
    from chromadb.errors import NotFoundError
    from overrides import override  # Chroma's classes refuse to be overridden without it
except ImportError as error:
    raise MissingDependencyError.for_extra("chromadb", "chroma") from error

_CONNECTIONS = 16
_MAX_RESPONSE_BYTES = 64 << 20  # 300 rows with 4,096 dimensions in JSON are half of it
_BASE = "/api/v2"


class ServerClient:
    """What `jina_rag.chroma` and `ChromaStore` need of a Chroma client.

    Chroma's own asks for the tenant and the database when it is made, without a limit to the time that may take.
    """

    def __init__(self, address: StoreAddress) -> None:
        """Connect to nothing yet."""
        self._api = _Api(address)
        self._place: dict[str, Any] = {"tenant": address.tenant, "database": address.database}

    def get_collection(self, name: str, embedding_function: Any = None) -> Collection:  # noqa: ANN401 - as Chroma's
        """As Chroma's."""
        model = self._api.get_collection(name, **self._place)
        return Collection(client=self._api, model=model, embedding_function=embedding_function)

    def get_or_create_collection(
        self,
        name: str,
        embedding_function: Any,  # noqa: ANN401
        metadata: dict[str, Any],
        configuration: Any,  # noqa: ANN401
    ) -> Collection:
        """As Chroma's."""
        model = self._api.get_or_create_collection(name, metadata=metadata, configuration=configuration, **self._place)
        return Collection(client=self._api, model=model, embedding_function=embedding_function)

    def get_max_batch_size(self) -> int:
        """As Chroma's."""
        return self._api.get_max_batch_size()

    def close(self) -> None:
        """Close the connections."""
        self._api.close()


class _Api(FastAPI):
    def __init__(self, address: StoreAddress) -> None:
        settings = Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=address.host,
            chroma_server_http_port=address.port,
            anonymized_telemetry=False,
        )
        super().__init__(System(settings))
        self._where = str(address)
        self._at_most_s = FIRST_ANSWER_TIMEOUT_S  # a wrong address should be reported quickly
        self._address = address
        self._connect()

    @override
    def _make_request(self, method: str, path: str, **kwargs: Any) -> Any:  # noqa: ANN401 - as Chroma's
        content = orjson.dumps(kwargs["json"], option=orjson.OPT_SERIALIZE_NUMPY) if "json" in kwargs else None
        query = f"?{urlencode(kwargs['params'])}" if kwargs.get("params") else ""
        if self._process != os.getpid():  # forked: connections are the parent's
            self._connect()
        try:
            response = self._http.request(
                method.upper(), f"{_BASE}{quote(path)}{query}", content, at_most_s=self._at_most_s
            )
            self._at_most_s = math.inf
            return orjson.loads(response.body)
        except StatusError as error:
            if error.status == 404:
                raise NotFoundError(error.reason) from error
            if error.status in (401, 403) and self._address.key_env:
                raise StoreError(str(error)) from error
            if error.status in (401, 403):
                raise StoreError(
                    f"{self._where} needs a token ({error.status}: {error.reason}). Put it into an environment "
                    "variable and name that in the address: ?key_env=CHROMA_API_KEY"
                ) from error
            raise StoreError(
                f"{self._where} refuses the request ({error.status}: {error.reason}). Check its name and settings."
            ) from error
        except BackendUnavailableError as error:
            raise StoreUnavailableError(str(error)) from error
        except BackendError as error:
            raise StoreError(str(error)) from error
        except orjson.JSONDecodeError as error:
            raise StoreError(f"{self._where} did not answer in JSON. Check that it is a Chroma server.") from error

    def close(self) -> None:
        self._http.close()
        self._session.close()

    def _connect(self) -> None:
        address = self._address
        engine = BackendAddress(
            kind="http",
            url=address.url,
            key_env=address.key_env,
            timeout=address.timeout,
            retry_timeout=address.retry_timeout,
        )
        self._process = os.getpid()
        self._http = HttpConnection(
            engine,
            n_connections=_CONNECTIONS,
            key_header=address.key_header if address.key_env else None,
            max_response_bytes=_MAX_RESPONSE_BYTES,
        )
