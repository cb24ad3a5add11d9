"""front.py -- a gateway before the schema registry: TLS, basic authentication, or both.

registry.sh starts it, as companies put one before theirs. It takes a file of lines KEY=VALUE: PORT and BACKEND (both on
127.0.0.1), and where wanted USER and PASSWORD, and PEM (key and certificate). A request without the right credentials is
answered with 401 and never reaches the registry; all others go there and back as they are.
"""

import base64
import hmac
import http.client
import http.server
import ssl
import sys

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend = None
    authorization = None  # what the header must be, or None

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def relay(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = self.headers.get("Authorization", "")
        if self.authorization and not hmac.compare_digest(given.encode(), self.authorization.encode()):
            json = b'{"error_code":401,"message":"Unauthorized"}'
            self.answer(401, [("WWW-Authenticate", 'Basic realm="registry"'), ("Content-Type", "application/json")], json)
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP | {"authorization"}}
        registry = http.client.HTTPConnection("127.0.0.1", self.backend, timeout=60)
        try:
            registry.request(self.command, self.path, body or None, headers)
            reply = registry.getresponse()
            self.answer(reply.status, reply.getheaders(), reply.read())
        except OSError as error:
            text = f'{{"error_code":502,"message":"the registry does not answer: {type(error).__name__}"}}'
            self.answer(502, [("Content-Type", "application/json")], text.encode())
        finally:
            registry.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = relay


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        options = dict(line.rstrip("\n").split("=", 1) for line in file)
    Front.backend = int(options["BACKEND"])
    if "USER" in options:
        pair = f"{options['USER']}:{options['PASSWORD']}"
        Front.authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(options["PORT"])), Front)
    if "PEM" in options:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["PEM"])
        # The handshake belongs to the connection's own thread, not to the one that accepts.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("listening", flush=True)
    server.serve_forever()


main()
