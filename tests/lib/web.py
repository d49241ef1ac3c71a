"""A web server in threads of the test, which dies with its connections: what engine.py and
ipwhois.py are made of."""
import http.server
import json
import socket
import ssl
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """.server.owner is whoever runs the server, .server.stopped is set when it ends."""
    protocol_version = 'HTTP/1.1'

    def say(self, what, status=200, headers=None):
        """Bytes, or something as JSON; None hangs, 'close' hangs up without a word."""
        if what is None:                # until the test ends
            self.server.stopped.wait(60)
        if what is None or what == 'close':
            self.close_connection = True
            return
        body = what if isinstance(what, bytes) else json.dumps(what).encode()
        try:
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(body)))
            for k, v in (headers or {}).items():
                self.send_header(k, v)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass                        # who asked has left

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 64

    def __init__(self, address, port, handler, owner, certificate=None):
        super().__init__((address, port), handler)
        self.owner, self.stopped, self.open = owner, threading.Event(), []
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()

    def get_request(self):
        sock, address = super().get_request()
        self.open.append(sock)
        return sock, address

    def handle_error(self, request, client_address):
        pass                            # a connection that ended is all there is

    def stop(self):
        self.stopped.set()
        self.shutdown()
        self.server_close()
        for sock in self.open:          # those that are kept alive die, too
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()
