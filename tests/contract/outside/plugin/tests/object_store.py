"""A store of objects over HTTP, as small as one can be that honours If-Match and If-None-Match; for this process."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with self.server.lock:
            found = self.server.objects.get(self.path)
        self.answer(404 if found is None else 200, *(found or ("", b"")))

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            tag, _ = self.server.objects.get(self.path, (None, b""))
            fits = tag is None if "If-None-Match" in self.headers else tag == self.headers["If-Match"]
            if fits:
                self.server.writes += 1
                tag = f'"{self.server.writes}"'
                self.server.objects[self.path] = tag, body
        self.answer(200 if fits else 412, tag or "", b"")

    def answer(self, status, tag, body):
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.objects, self.writes = threading.Lock(), {}, 0

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_address[1]}/jobs"


@contextmanager
def serving():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
