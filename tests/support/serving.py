"""An application in a thread of the test, as a server on the loopback."""

import asyncio
import contextlib
import socket
import threading

import uvicorn


@contextlib.contextmanager
def serving(app):
    """Serve the application in a thread; gives its address."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app, lifespan="off", log_config=None, log_level="error", access_log=False,
            timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    server.capture_signals = contextlib.nullcontext
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True
    )
    thread.start()
    server.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join()
