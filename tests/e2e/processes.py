"""The shipped binaries as child processes, and a proxy that can hold a connection still."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

WAIT_SECONDS = 120


def wait_until(condition, what):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)


class Server:
    """quantd on a free port (and a Unix socket when a path is given)."""

    def __init__(self, binary, folder, unix=None, extra=()):
        self.port_file = os.path.join(folder, f"port-{time.monotonic_ns()}.json")
        command = [binary, "--listen", "127.0.0.1:0", "--port-file", self.port_file]
        command += ["--metrics-listen", "off", "--log-level", "error", *extra]
        if unix:
            command += ["--listen", "unix:" + unix]
        self.process = subprocess.Popen(command)
        wait_until(
            lambda: os.path.exists(self.port_file) or self.process.poll() is not None,
            "quantd to listen",
        )
        if self.process.poll() is not None:
            raise RuntimeError(f"quantd ended with {self.process.returncode}")
        with open(self.port_file) as file:
            self.port = json.load(file)["grpc"]

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


class Proxy:
    """Forwards TCP; after `hold_after` bytes towards the server it stands still until released."""

    def __init__(self, port, hold_after=None):
        self.upstream = port
        self.hold_after = hold_after
        self.passed = 0
        self.held = threading.Event()
        self.free = threading.Event()
        if hold_after is None:
            self.free.set()
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.upstream))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink, counted):
        try:
            while data := source.recv(65536):
                if counted:
                    self.passed += len(data)
                    if not self.free.is_set() and self.passed >= self.hold_after:
                        self.held.set()
                        self.free.wait()
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def release(self, port=None):
        """Lets everything through, to another server when `port` is given: old connections end."""
        if port is not None:
            self.upstream = port
            for end in self._sockets:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.free.set()

    def close(self):
        self.free.set()
        self._listener.close()
        for end in self._sockets:
            end.close()
