"""Rendezvous `outside-object`: an object of an HTTP store that honours If-Match, at http://HOST:PORT/BUCKET.

The ETag is the fencing token. The store does all the comparing; this is only how it is asked.
"""

from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlsplit

from launcher_core import hookimpl

GONE, LOST = 404, 412


class StoredObject:
    name = "outside-object"

    def __init__(self, host, path):
        self.host, self.path = host, path

    def get_state(self):
        status, tag, body = self.ask("GET")
        return None if status == GONE else (body, tag)

    def set_state(self, state, token=None):
        condition = {"If-None-Match": "*"} if token is None else {"If-Match": token}
        status, tag, _ = self.ask("PUT", state, condition)
        if status != LOST:
            return state, tag, True
        now = self.get_state()
        return now and (*now, False)

    def ask(self, method, body=None, headers=None):
        try:
            with closing(HTTPConnection(self.host, timeout=5)) as connection:
                connection.request(method, self.path, body, headers or {})
                answer = connection.getresponse()
                status, tag, body = answer.status, answer.headers["ETag"], answer.read()
        except HTTPException as error:
            raise OSError(f"http://{self.host}: {error!r}") from error
        if status >= 500:
            raise OSError(f"http://{self.host}: {status} {answer.reason}")
        if status >= 400 and status not in (GONE, LOST):
            raise ValueError(f"http://{self.host}{self.path}: {status} {answer.reason}")
        return status, tag, body


@hookimpl
def launcher_declare():
    return {"capabilities": ["ELASTIC", "SURVIVES_HOST_LOSS"]}


@hookimpl
def launcher_make_rendezvous(params):
    """Raises ValueError for an endpoint that is no http:// URL."""
    where = urlsplit(params.endpoint)
    if where.scheme != "http" or not where.netloc:
        raise ValueError(f"--rdzv-endpoint={params.endpoint!r}: write http://HOST:PORT/BUCKET")
    return StoredObject(where.netloc, f"{where.path.rstrip('/')}/{quote(params.run_id, safe='')}")
