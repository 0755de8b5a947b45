"""What both clients are made of, and how their arguments become a request."""

from __future__ import annotations

from fleetnet.client.address import Path, address_of, credentials
from fleetnet.client.calls import Asked
from fleetnet.client.deadline import Deadline
from fleetnet.client.errors import ClientError
from fleetnet.client.network import Network
from fleetnet.client.session import Options, Session


class Base:
    """A client's session and what it asks for unless told otherwise."""

    def __init__(
        self,
        network: Network,
        url: str,
        *,
        token: str | None,
        api_key: str | None,
        model: str,
        options: Options,
        ca: Path | None,
        cert: Path | tuple[Path, Path] | None,
    ) -> None:
        headers = {"User-Agent": "fleetnet", "Accept": "*/*", **credentials(token, api_key)}
        self._session = Session(address_of(url, ca, cert), network, headers, options)
        self._model = model

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._session.address.shown!r})"

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._session.options.timeout if timeout is None else timeout)

    def _asked(
        self,
        model: str | None,
        version: str | None,
        timeout: float | None,
        *,
        top_k: int = 5,
        probabilities: bool = False,
        embeddings: bool = False,
        request_id: str | None = None,
        traceparent: str | None = None,
    ) -> Asked:
        return Asked(
            model=self._model if model is None else model,
            version=version or "",
            top_k=top_k,
            probabilities=probabilities,
            embeddings=embeddings,
            request_id=request_id,
            traceparent=traceparent,
            deadline=self._deadline(timeout),
        )


def checked(concurrency: int) -> int:
    """Return a number of requests that may be under way.

    Raises:
        ClientError: it is none.
    """
    if concurrency < 1:
        raise ClientError(f"concurrency= is 1 or more, not {concurrency}")
    return concurrency
