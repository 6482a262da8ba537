# SPDX-License-Identifier: Apache-2.0
"""The multiplexed stream of attach, logs and exec: frames of 8 header bytes (stream id, three zeros, length) and payload."""

import struct

STREAM_NAMES = {0: "stdin", 1: "stdout", 2: "stderr", 3: "system"}


class FrameError(Exception):
    """The bytes are not a multiplexed stream."""


def decode(data):
    """([(stream id, payload)], rest): rest is an incomplete frame at the end."""
    frames, offset = [], 0
    while offset + 8 <= len(data):
        stream, zero, length = struct.unpack_from(">B3sI", data, offset)
        if stream not in STREAM_NAMES or zero != b"\0\0\0":
            raise FrameError(f"not a frame header at byte {offset}: {bytes(data[offset:offset + 8])!r}")
        if offset + 8 + length > len(data):
            break
        frames.append((stream, bytes(data[offset + 8:offset + 8 + length])))
        offset += 8 + length
    return frames, bytes(data[offset:])


def join(frames):
    """{stream name: whole payload}; the interleaving of streams is a matter of timing and is not kept."""
    joined = {}
    for stream, payload in frames:
        name = STREAM_NAMES[stream]
        joined.setdefault(name, []).append(payload)
    return {name: b"".join(payloads) for name, payloads in joined.items()}


def encode(stream, payload):
    return struct.pack(">B3xI", stream, len(payload)) + payload
