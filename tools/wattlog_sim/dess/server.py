"""The fake cloud on a loopback port: sends what cloud.py says, or sends it badly."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wattlog_sim.dess.cloud import BIG_BYTES, PATH, Cloud

DRIP_S = 0.02


class Server:
    """A cloud that listens; stop() ends it, and all that hangs."""

    def __init__(self, cloud: Cloud, port: int = 0) -> None:
        """Listen on the port, 0 for any that is free."""
        self.cloud = cloud
        self.released = threading.Event()
        self.big_bytes_sent = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one piece, or the kernel waits between them for 40 ms.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                return

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            # Those of a fault wait until they are released.
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                return

        self._http = Listener(("127.0.0.1", port), Handler)
        self.port = int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Return what to set as dessmonitor.url."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self.lock:
            answer = self.cloud.answer(handler.path)
        if answer.how == "hang":
            self.released.wait()
            handler.close_connection = True
            return
        if answer.how == "drip-head":
            handler.close_connection = True
            self._drip(handler, b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 10_000)
            return
        body, length = answer.body, len(answer.body)
        if answer.how == "big":
            length = BIG_BYTES
        handler.send_response(answer.status)
        headers = dict(answer.headers)
        headers.setdefault("Content-Type", "application/json;charset=UTF-8")
        for name, value in headers.items():
            handler.send_header(name, value)
        if answer.how == "big":
            # Without a length nobody can know before.
            handler.send_header("Connection", "close")
            handler.close_connection = True
        else:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if answer.how == "drip":
            handler.close_connection = True
            self._drip(handler, body)
        elif answer.how == "big":
            handler.wfile.write(b'{"err":0,"dat":"')
            while self.big_bytes_sent < BIG_BYTES and not self.released.is_set():
                handler.wfile.write(b"x" * 65_536)
                self.big_bytes_sent += 65_536
        else:
            handler.wfile.write(body)

    def _drip(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        for at in range(len(data)):
            handler.wfile.write(data[at : at + 1])
            handler.wfile.flush()
            if self.released.wait(DRIP_S):
                return
