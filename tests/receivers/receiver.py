"""Receivers of container output for tests: each writes what it was sent as lines of JSON to a file.

`forward` takes Fluentd's forward protocol, `router` is that with a configuration as FireLens makes it for Fluent Bit (of which
it knows the sections that tests use), `gelf` and `splunk` and `journal` take those. They know nothing of Longshore: MessagePack
is read by Debian's python3-msgpack, everything else by Python's own library.
"""

import fnmatch
import gzip
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import socketserver
import ssl
import struct
import sys
import threading
import zlib

import msgpack

LOCK = threading.Lock()


def write(path, what):
    with LOCK, open(path, "a") as out:
        out.write(json.dumps(what, sort_keys=True) + "\n")
        out.flush()


def seconds(at):
    if isinstance(at, msgpack.ExtType):
        whole, nanos = struct.unpack(">II", at.data)
        assert at.code == 0
        return whole + nanos / 1e9
    return at


class Forward(socketserver.BaseRequestHandler):
    """One connection of the forward protocol."""

    def handle(self):
        unpacker = msgpack.Unpacker(raw=False)
        while True:
            bytes = self.request.recv(65536)
            if not bytes:
                return
            unpacker.feed(bytes)
            for message in unpacker:
                tag, entries, *rest = message
                option = rest[-1] if rest and isinstance(rest[-1], dict) else {}
                if not isinstance(entries, list):
                    # A message of its own: tag, time, record.
                    entries, option = [[entries, rest[0]]], rest[1] if len(rest) > 1 else {}
                for at, record in entries:
                    self.server.take(tag, seconds(at), record)
                if "chunk" in option:
                    self.request.sendall(msgpack.packb({"ack": option["chunk"]}))


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def forward(out, address):
    server = Tcp(address, Forward)
    server.take = lambda tag, at, record: write(out, {"tag": tag, "at": at, "record": record})
    server.serve_forever()


def substituted(value):
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found.group(1), ""), value)


def sections(path):
    """The sections of a configuration of Fluent Bit's older form, with what it includes."""
    found = []
    for line in open(path):
        line = line.strip()
        if line.startswith("@INCLUDE "):
            found.extend(sections(line.split(None, 1)[1]))
        elif line.startswith("["):
            found.append((line.strip("[]"), []))
        elif line:
            key, _, value = line.partition(" ")
            found[-1][1].append((key.lower(), substituted(value)))
    return found


def router(config):
    """What Fluent Bit would do with these sections: forward in; grep and record_modifier; file, stdout and null out."""
    inputs, filters, outputs = [], [], []
    places = {"INPUT": inputs, "FILTER": filters, "OUTPUT": outputs}
    for kind, lines in sections(config):
        if kind in places:
            places[kind].append((dict(lines), lines))

    def take(tag, at, record):
        record = dict(record)
        for about, lines in filters:
            if not fnmatch.fnmatchcase(tag, about["match"]):
                continue
            for key, value in lines:
                if key == "record":
                    name, _, value = value.partition(" ")
                    record[name] = value
                elif key in ("regex", "exclude"):
                    name, _, pattern = value.partition(" ")
                    if bool(re.search(pattern, record.get(name, ""))) != (key == "regex"):
                        return
        for about, _ in outputs:
            if not fnmatch.fnmatchcase(tag, about["match"]):
                continue
            if about["name"] == "file":
                key = hashlib.sha256(about.get("apikey", "").encode()).hexdigest()
                write(os.path.join(about["path"], about["file"]), {"tag": tag, "record": record, "key": key})
            elif about["name"] == "stdout":
                print(tag, json.dumps(record, sort_keys=True), flush=True)
            else:
                assert about["name"] == "null", about

    servers = []
    for about, _ in inputs:
        if "unix_path" in about:
            if os.path.exists(about["unix_path"]):
                os.unlink(about["unix_path"])
            servers.append(Unix(about["unix_path"], Forward))
        elif about["name"] == "forward":
            servers.append(Tcp((about["listen"], int(about["port"])), Forward))
    for server in servers:
        server.take = take
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("router ready", flush=True)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    print("router ends", flush=True)


def unpacked(message):
    if message[:2] == b"\x1f\x8b":
        message = gzip.decompress(message)
    elif message[:1] != b"{":
        message = zlib.decompress(message)
    return json.loads(message)


def gelf_udp(out, address):
    taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taker.bind(address)
    pieces = {}
    while True:
        message = taker.recv(65536)
        if message[:2] == b"\x1e\x0f":
            id, number, count = message[2:10], message[10], message[11]
            all = pieces.setdefault(id, {})
            all[number] = message[12:]
            if len(all) < count:
                continue
            message = b"".join(all[number] for number in range(count))
            del pieces[id]
        write(out, unpacked(message))


class GelfTcp(socketserver.StreamRequestHandler):
    def handle(self):
        rest = b""
        while True:
            bytes = self.request.recv(65536)
            if not bytes:
                return
            *whole, rest = (rest + bytes).split(b"\0")
            for message in whole:
                write(self.server.out, json.loads(message))


def gelf_tcp(out, address):
    server = Tcp(address, GelfTcp)
    server.out = out
    server.serve_forever()


class Splunk(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_OPTIONS(self):
        self.answer(200, "")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/services/collector/event/1.0":
            return self.answer(404, "no such place")
        if hashlib.sha256(self.headers["Authorization"].encode()).hexdigest() != self.server.token:
            # Some answer with what they were sent.
            return self.answer(403, json.dumps({"text": "Invalid token", "sent": self.headers["Authorization"]}))
        packed = self.headers.get("Content-Encoding") == "gzip"
        text = (gzip.decompress(body) if packed else body).decode()
        decoder, at = json.JSONDecoder(), 0
        while at < len(text):
            event, at = decoder.raw_decode(text, at)
            write(self.server.out, event)
        self.answer(200, '{"text":"Success","code":0}')

    def log_message(self, *_):
        pass


def splunk(out, address, token, cert=None, key=None):
    server = http.server.ThreadingHTTPServer(address, Splunk)
    server.out = out
    # Of the whole header, so that the token itself stands in no argument.
    server.token = token
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def journal(out, path):
    taker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    taker.bind(path)
    while True:
        message, ancillary, _, _ = taker.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for _, kind, data in ancillary:
            assert kind == socket.SCM_RIGHTS
            (file,) = struct.unpack("i", data[:4])
            with os.fdopen(file, "rb") as sealed:
                sealed.seek(0)
                message = sealed.read()
        fields = {}
        while message:
            line, _, message = message.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (length,) = struct.unpack("<Q", message[:8])
                value, message = message[8 : 8 + length], message[8 + length + 1 :]
            fields[name.decode()] = value.decode()
        write(out, fields)


def main():
    kind, *words = sys.argv[1:]
    if kind == "router":
        return router(*words)
    out, place, *more = words
    if kind == "journal":
        return journal(out, place)
    host, _, port = place.rpartition(":")
    address = (host, int(port))
    {"forward": forward, "gelf-udp": gelf_udp, "gelf-tcp": gelf_tcp, "splunk": splunk}[kind](out, address, *more)


if __name__ == "__main__":
    main()
