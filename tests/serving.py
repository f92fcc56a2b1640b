"""A local HTTP server that breaks transfers off, refuses, and knows no ranges, as told."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves `files` by their names and `content` as any other; `cut` answers break off half-way.

    With `whole`, it knows no ranges; without `announced`, no lengths; `error` is its only answer.
    """

    def __init__(self) -> None:
        self.content, self.cut, self.ranges = CONTENT, 0, list[str]()
        self.files, self.asked = dict[str, bytes](), list[str]()
        self.whole, self.announced, self.error = False, True, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range", "bytes=0-")
                name = self.path.removeprefix("/models/")
                content = outer.files.get(name, outer.content)
                outer.ranges.append(asked)
                outer.asked.append(name)
                start = int(asked.removeprefix("bytes=").removesuffix("-")) * (not outer.whole)
                if outer.error or start >= len(content):
                    self.send_error(outer.error or 416)
                    return
                body = content[start:]
                self.send_response(200 if outer.whole else 206)
                if outer.announced:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if outer.cut:
                    outer.cut -= 1
                    body = body[: len(body) // 2]
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/models/{name}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
