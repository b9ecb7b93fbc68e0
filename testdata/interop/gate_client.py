"""Opens connections to a gate, keeps a session, and says what it sees as JSON
lines. When the certificate was revoked, it is told on its standard input how many
milliseconds a connection may take to end, and says what became of the connections,
of the session, and of a new handshake.
Arguments: the address of the gate for HTTP and of the one for TCP, the files of
root, certificate and key, the version of TLS, and the name that the upstream is
told."""

import http.client
import json
import socket
import ssl
import sys
import threading
import time

WEB, RAW, ROOT, CERT, KEY, VERSION, NAME = sys.argv[1:]
CONTEXT = ssl.create_default_context(cafile=ROOT)
CONTEXT.load_cert_chain(CERT, KEY)
CONTEXT.minimum_version = CONTEXT.maximum_version = ssl.TLSVersion["TLSv" + VERSION.replace(".", "_")]


def say(case, state, **more):
    print(json.dumps({"case": case, "state": state, **more}), flush=True)


def connect(address, session=None):
    host, port = address.rsplit(":", 1)
    raw = socket.create_connection((host, int(port)), timeout=10)
    return CONTEXT.wrap_socket(raw, server_hostname="localhost", session=session)


class Live:
    """A connection that is open: octets come until it ends."""

    def __init__(self, name, read):
        self.name, self.read, self.late, self.how = name, read, 0, "closed"
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        try:
            while octets := self.read():
                self.late += octets.count(b"A")  # made after the revocation
                self.started.set()
        except (OSError, http.client.HTTPException) as error:
            self.how = repr(error)


def download():
    host, port = WEB.rsplit(":", 1)
    connection = http.client.HTTPSConnection("localhost", int(port), context=CONTEXT, timeout=10)
    connection.request("GET", "/down?cell=" + NAME)
    answer = connection.getresponse()
    return Live("download", lambda: answer.read1(65536))


def idle():
    conn = connect(WEB)
    conn.sendall(b"GET /one?cell=%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % NAME.encode())
    answer = http.client.HTTPResponse(conn)
    answer.begin()
    answer.read()
    live = Live("idle", lambda: conn.recv(1))
    live.started.set()
    return live


def tcp():
    conn = connect(RAW)
    conn.sendall(NAME.encode() + b"\nb")

    def echo():
        octets = conn.recv(1)
        time.sleep(0.005)
        conn.sendall(b"b")
        return octets

    return Live("tcp", echo)


def call(session=None):
    """Makes one call: the state, how it went, whether it resumed, and the session."""
    resumed, kept, text, how = False, None, b"", "closed"
    try:
        with connect(WEB, session) as conn:
            resumed = conn.session_reused
            conn.sendall(b"GET /one?cell=%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % NAME.encode())
            while octets := conn.recv(4096):
                text += octets
            kept = conn.session
    except OSError as error:
        how = repr(error)
    if text:
        return "answered", text.split(b"\r\n")[0].decode(), resumed, kept
    return "refused", how, resumed, kept


def main():
    state, how, _, kept = call()
    say("first", state, how=how)
    live = [download(), idle(), tcp()]
    for one in live:
        one.started.wait(10)
    say("ready", "open")
    deadline = time.monotonic() + int(sys.stdin.readline()) / 1000
    for one in live:
        one.thread.join(max(0, deadline - time.monotonic()))
        say(one.name, "alive" if one.thread.is_alive() else "cut", late=one.late, how=one.how)
    for case, session in (("resume", kept), ("new", None)):
        state, how, resumed, _ = call(session)
        say(case, state, how=how, resumed=resumed)


main()
