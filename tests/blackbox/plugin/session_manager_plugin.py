"""What `aws ecs execute-command` runs: a client of Session Manager's data channel, as far as ECS Exec uses it.

AWS's own plugin comes from no package registry. This one was written from the protocol's form as that one speaks it (`crates/wire`,
`data_channel.rs`, names its sources) and shares no line with the server: it packs and checks every message by itself, leaves the first
output unanswered once, as the plugin does while it is not ready, and says every first input twice.
"""

import datetime
import hashlib
import json
import os
import select
import struct
import sys
import termios
import tty
import uuid

import websocket

HEADER = struct.Struct(">I32sIQqQ16s32sI")


def pack(kind, sequence, flags, payload_type, payload, identity=None):
    identity = identity or uuid.uuid4()
    half = identity.bytes
    header = HEADER.pack(116, kind.ljust(32).encode(), 1, int(datetime.datetime.now().timestamp() * 1000), sequence, flags,
                         half[8:] + half[:8], hashlib.sha256(payload).digest(), payload_type)
    return header + struct.pack(">I", len(payload)) + payload


def unpack(message):
    length, kind, version, _, sequence, flags, identity, digest, payload_type = HEADER.unpack_from(message)
    assert length == 116 == HEADER.size and version == 1, (length, version)
    (size,) = struct.unpack_from(">I", message, HEADER.size)
    payload = message[HEADER.size + 4:]
    assert len(payload) == size and hashlib.sha256(payload).digest() == digest
    return kind.decode().rstrip(), sequence, uuid.UUID(bytes=identity[8:] + identity[:8]), payload_type, payload


class Session:
    def __init__(self, session):
        # The plugin is written in Go, where the names of members have no case.
        session = {name.lower(): value for name, value in session.items()}
        self.socket = websocket.create_connection(session["streamurl"], timeout=60)
        opening = {"MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": session["tokenvalue"],
                   "ClientId": str(uuid.uuid4()), "ClientVersion": "1.2.707.0"}
        self.socket.send(json.dumps(opening))
        self.expected, self.sequence, self.unready, self.ready = 0, 0, True, False

    def say(self, payload_type, payload):
        message = pack("input_stream_data", self.sequence, 0, payload_type, payload)
        for _ in range(2 if self.sequence < 2 else 1):
            self.socket.send_binary(message)
        self.sequence += 1

    def acknowledge(self, kind, identity, sequence):
        what = {"AcknowledgedMessageType": kind, "AcknowledgedMessageId": str(identity),
                "AcknowledgedMessageSequenceNumber": sequence, "IsSequentialMessage": True}
        self.socket.send_binary(pack("acknowledge", 0, 3, 0, json.dumps(what).encode()))

    def shake(self, payload):
        (action,) = json.loads(payload)["RequestedClientActions"]
        kind = action["ActionParameters"]["SessionType"]
        assert (action["ActionType"], kind) == ("SessionType", "InteractiveCommands"), action
        answer = {"ClientVersion": "1.2.707.0", "Errors": [],
                  "ProcessedClientActions": [{"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": None, "Error": ""}]}
        self.say(6, json.dumps(answer).encode())

    def size(self):
        size = os.get_terminal_size(sys.stdin.fileno())
        self.say(3, json.dumps({"cols": size.columns, "rows": size.lines}).encode())

    def take(self, message):
        """False once the session is over."""
        kind, sequence, identity, payload_type, payload = unpack(message)
        if kind == "channel_closed":
            closed = json.loads(payload)
            assert closed["MessageType"] == "channel_closed" and closed["SchemaVersion"] == 1, closed
            sys.stdout.write(closed["Output"])
            return False
        if kind == "acknowledge":
            assert json.loads(payload)["AcknowledgedMessageType"] == "input_stream_data"
            return True
        assert kind == "output_stream_data", kind
        if payload_type == 1 and self.unready:
            self.unready = False
            return True
        if sequence <= self.expected:
            self.acknowledge(kind, identity, sequence)
        if sequence != self.expected:
            return True
        self.expected += 1
        if payload_type == 5:
            self.shake(payload)
        elif payload_type == 7:
            assert set(json.loads(payload)) == {"HandshakeTimeToComplete", "CustomerMessage"}
            self.ready = True
            self.size()
        elif payload_type == 1:
            os.write(sys.stdout.fileno(), payload)
        return True

    def run(self):
        while True:
            known, _, _ = select.select([self.socket.sock] + ([sys.stdin] if self.ready else []), [], [], 60)
            if self.socket.sock in known:
                opcode, data = self.socket.recv_data()
                if opcode != websocket.ABNF.OPCODE_BINARY or not self.take(data):
                    return
            if sys.stdin in known:
                self.say(1, os.read(sys.stdin.fileno(), 1024))


def main():
    if len(sys.argv) < 2:
        return print("The Session Manager plugin was installed successfully. Use the AWS CLI to start a session.")
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        Session(json.loads(sys.argv[1])).run()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


main()
