# SPDX-License-Identifier: Apache-2.0
"""Commands under the harness: with separate stdout and stderr, or on a pseudo-terminal that can be typed on."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

OUTPUT_LIMIT = 64 << 20


class ProcessError(Exception):
    """The command cannot be typed on any more."""


class _Watched:
    """Shared by both kinds: a growing output that can be waited on, and a process group that can be ended."""

    def __init__(self):
        self._lock = threading.Condition()
        self._parts = {}
        self._live = 0
        self.process = None
        self.timed_out = False

    def _follow(self, name, descriptor):
        self._parts[name] = bytearray()
        self._live += 1
        threading.Thread(target=self._read, args=(name, descriptor), daemon=True).start()

    def _read(self, name, descriptor):
        while True:
            try:
                data = os.read(descriptor, 65536)
            except OSError:             # EIO: the last holder of the terminal is gone
                data = b""
            with self._lock:
                if data and len(self._parts[name]) < OUTPUT_LIMIT:
                    self._parts[name] += data
                if not data:
                    self._live -= 1
                self._lock.notify_all()
            if not data:
                return

    def output(self, name):
        with self._lock:
            return bytes(self._parts.get(name, b""))

    def wait_output(self, pattern, timeout):
        regex = re.compile(pattern, re.S)
        limit = time.monotonic() + timeout
        with self._lock:
            while not any(regex.search(part) for part in self._parts.values()):
                left = limit - time.monotonic()
                if left <= 0 or self._live == 0:
                    return any(regex.search(part) for part in self._parts.values())
                self._lock.wait(left)
        return True

    def finish(self, timeout):
        """The exit code as a shell would give it, or None when the command had to be killed."""
        limit = time.monotonic() + timeout
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.timed_out = True
            self.kill()
            return None
        with self._lock:
            self._lock.wait_for(lambda: self._live == 0, max(1.0, limit - time.monotonic()))
        return 128 - code if code < 0 else code

    def kill(self):
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()


class Piped(_Watched):
    """A command line for /bin/sh with pipes. Without stdin text its stdin is empty, unless it is kept open for `send`."""

    def __init__(self, words, environment, folder, stdin=None, keep_open=False):
        super().__init__()
        self.process = subprocess.Popen(words, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.PIPE if stdin is not None or keep_open else subprocess.DEVNULL,
                                        start_new_session=True)
        self._follow("stdout", self.process.stdout.fileno())
        self._follow("stderr", self.process.stderr.fileno())
        if stdin is not None:
            threading.Thread(target=self._feed, args=(stdin, keep_open), daemon=True).start()

    def _feed(self, data, keep_open):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
            if not keep_open:
                self.process.stdin.close()
        except OSError:
            pass

    def finish(self, timeout):
        code = super().finish(timeout)
        with self._lock:
            ended = self._live == 0
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr) if ended else ():
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass
        return code

    def send(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (OSError, ValueError) as error:
            raise ProcessError(f"send: {error}") from None

    def half_close(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass


class Terminal(_Watched):
    """A command line on a pseudo-terminal of its own."""

    def __init__(self, words, environment, folder, columns, lines):
        super().__init__()
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        self.process = subprocess.Popen(words, env=environment, cwd=folder, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self._follow("output", self._master)

    def resize(self, columns, lines):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_raw(self, timeout):
        """Until the program has switched off echo and lines: what is typed from then on is echoed by nobody here."""
        limit = time.monotonic() + timeout
        while termios.tcgetattr(self._master)[3] & (termios.ECHO | termios.ICANON):
            if time.monotonic() > limit or self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def send(self, data):
        try:
            os.write(self._master, data)
        except OSError as error:
            raise ProcessError(f"send: {error.strerror}") from None

    def half_close(self):
        self.send(b"\x04")

    def finish(self, timeout):
        code = super().finish(timeout)
        with self._lock:
            self._lock.wait_for(lambda: self._live == 0, 60.0)
        os.close(self._master)
        return code
