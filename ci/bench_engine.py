# SPDX-License-Identifier: Apache-2.0
"""What ci/bench and ci/bench-trace need of an engine in the lab: requests, timed chains of requests, processes and their memory.

Engine(name, env): one part of the lab. Its timed requests go through bench-client (C, beside this file), so that this language's own
cost is not in the figures; everything that is not timed goes through Python.
"""
import contextlib
import ctypes
import glob
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time

CI = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(CI)
BUILD = os.environ.get("BUILD_DIR") or os.path.join(TOP, "build")
OUT = os.path.join(BUILD, "bench")
API = "/v1.45"
CLONE_NEWNET = 0x40000000


class Failed(Exception):
    """The operation failed on that engine; it gets no number."""


def lab_env():
    done = subprocess.run([os.path.join(CI, "lab"), "env"], stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def compiled(name, *flags):
    """Path of a program made from ci/NAME.c."""
    source, target = os.path.join(CI, name + ".c"), os.path.join(OUT, name)
    os.makedirs(OUT, exist_ok=True)
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        subprocess.run([os.environ.get("CC") or "cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", target, source, *flags], check=True)
    return target


class Client:
    """One bench-client process: chains of timed steps."""

    def __init__(self, path):
        self.began = 0.0
        self.process = subprocess.Popen([compiled("bench-client"), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def chain(self, *steps):
        """Seconds of each step. When the first began is in self.began (time.monotonic())."""
        self.process.stdin.write("\t".join(steps) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip("\n")
        if not answer or answer.startswith("!"):
            raise Failed(answer[2:] or "the client died")
        self.began, *took = (float(word) / 1e9 for word in answer.split("\t"))
        return took

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=300):
        super().__init__("bench", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    def __init__(self, name, env):
        upper = name.upper()
        self.name = name
        self.socket = env[upper + "_HOST"].removeprefix("unix://")
        self.share, self.share_inside = env[upper + "_SHARE"], env["SHARE_INSIDE"]
        self.cgroup = env[upper + "_CGROUP"]
        self.holder = int(env[upper + "_HOLDER_PID"] or 0)
        self.pid = int(env[upper + "_PID"] or 0)
        self.clients, self.counter = [], 0

    # ---- requests ----

    def call(self, method, path, body=None, ok=None):
        """(status, parsed reply). Statuses from 400 raise unless they are in ok."""
        c = UnixConnection(self.socket)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            c.request(method, API + path, body, {"Content-Type": "application/json"})
            reply = c.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{method} {path}: {error!r}") from error
        finally:
            c.close()
        if reply.status >= 400 and reply.status not in (ok or ()):
            raise Failed(f"{method} {path}: {reply.status} {text[:200].decode(errors='replace')}")
        try:
            return reply.status, json.loads(text) if text else None
        except ValueError:
            return reply.status, text

    def download(self, path):
        """Seconds until all bytes of an answer have come."""
        c = UnixConnection(self.socket)
        start = time.monotonic()
        try:
            c.request("GET", API + path)
            reply = c.getresponse()
            piece = bytearray(1 << 20)
            while reply.readinto(piece):
                pass
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"GET {path}: {error!r}") from error
        finally:
            c.close()
        if reply.status != 200:
            raise Failed(f"GET {path}: {reply.status}")
        return time.monotonic() - start

    def stream(self, method, path, body=None, kind="application/x-tar", headers=None):
        """Seconds until a stream of JSON lines has ended; body may be an open file."""
        c = UnixConnection(self.socket)
        headers = {"Content-Type": kind, **(headers or {})}
        if body is not None:
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        start = time.monotonic()
        try:
            c.putrequest(method, API + path)
            for key, value in headers.items():
                c.putheader(key, value)
            c.endheaders()
            if body is not None:
                c.sock.settimeout(None)  # sendfile(2) wants a socket that blocks
                while os.sendfile(c.sock.fileno(), body.fileno(), None, 1 << 24):
                    pass
            reply = c.getresponse()
            text = reply.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{method} {path}: {error!r}") from error
        finally:
            c.close()
        took = time.monotonic() - start
        if reply.status >= 400 or '"error"' in text:
            raise Failed(f"{method} {path}: {reply.status} {text[-200:]}")
        return took

    def client(self):
        if not self.clients:
            self.clients.append(Client(self.socket))
        return self.clients[0]

    def chain(self, *steps):
        return self.client().chain(*steps)

    def close(self):
        while self.clients:
            self.clients.pop().close()

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(self.socket)
                s.sendall(b"GET /_ping HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                return b" 200 " in s.recv(64)
        except OSError:
            return False

    # ---- containers and images ----

    def new_name(self):
        self.counter += 1
        return f"bench{os.getpid()}-{self.counter}"

    def make(self, command, start=True, network="bridge", **config):
        """A container; returns its name."""
        name = self.new_name()
        body = {"Image": "busybox", "Cmd": command, "Labels": {"bench": str(os.getpid())}, "HostConfig": {"NetworkMode": network}, **config}
        self.call("POST", f"/containers/create?name={name}", body)
        if start:
            self.call("POST", f"/containers/{name}/start")
        return name

    def remove(self, *names):
        for name in names:
            self.call("DELETE", f"/containers/{name}?force=1&v=1", ok=(404, 409))

    def clean(self):
        """Whatever this run has left behind."""
        filters = json.dumps({"label": [f"bench={os.getpid()}"]}).replace(" ", "").replace('"', "%22")
        _, left = self.call("GET", f"/containers/json?all=1&filters={filters}")
        self.remove(*(c["Id"] for c in left or ()))

    def has_image(self, name):
        return self.call("GET", f"/images/{name}/json", ok=(404,))[0] == 200

    def need_image(self, name, archives):
        """Have an image, from the lab's archives."""
        if not self.has_image(name):
            with open(os.path.join(archives, name.split(":")[0], "docker.tar"), "rb") as f:
                self.stream("POST", "/images/load", f)

    # ---- processes ----

    def processes(self):
        """Of the engine itself: below its cgroup, in the machine's own pid namespace, without the lab's holder."""
        pids = set()
        for pattern in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
            top = pattern + self.cgroup
            if os.path.isdir(top):
                for path in glob.glob(top + "/**/cgroup.procs", recursive=True) + [top + "/cgroup.procs"]:
                    with open(path, encoding="ascii") as f:
                        pids.update(int(line) for line in f)
                break
        return {pid for pid in pids - {self.holder} if own_pid_namespace(pid)}

    def memory(self):
        """While a with block runs: the most memory its processes have had in theirs, in .most (MB)."""
        return Memory(self)

    def start_second(self, binary, flags, socket_name):
        """Start one more daemon beside this engine, with its files and a network namespace of its own (daemons do not share a bridge, and one
        that is told to have none takes the other's away); (process, seconds until its first answer)."""
        path = os.path.join(self.share, socket_name)
        if os.path.exists(path):
            os.unlink(path)
        libc = ctypes.CDLL(None, use_errno=True)
        fds = [os.open(f"/proc/{self.holder}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("cgroup", "mnt")]

        def enter():
            for fd in fds:
                if libc.setns(fd, 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            if libc.unshare(CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            os.chdir("/")

        with open(os.path.join(OUT, f"{self.name}-second.log"), "wb") as log:
            start = time.monotonic()
            process = subprocess.Popen([binary, "-H", f"unix://{self.share_inside}/{socket_name}", *flags],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=enter, start_new_session=True)
        for fd in fds:
            os.close(fd)
        second = Engine.__new__(Engine)
        second.socket = path
        while not Engine.answers(second):
            if process.poll() is not None or time.monotonic() - start > 60:
                stop(process)
                raise Failed(f"the second daemon does not start; see {log.name}")
            time.sleep(0.0003)
        return process, time.monotonic() - start


class Memory:
    """Resident memory of all of an engine's processes: of each the peak, summed over those that were there at one time."""

    def __init__(self, engine):
        self.engine, self.most, self.over, self.there = engine, 0.0, threading.Event(), ()

    def look(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, sum(peak(pid) for pid in self.engine.processes() if pid in self.there or not shares_memory(pid)))

    def __enter__(self):
        self.there = self.engine.processes()
        for pid in self.there:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
                f.write("5")  # the peak becomes what is there now (proc(5))
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def __exit__(self, *why):
        self.over.set()
        self.thread.join()


def shares_memory(pid):
    """A process that is being started has its parent's memory until it runs its program (PF_FORKNOEXEC, field 9 of proc(5)'s stat)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return int(f.read().rpartition(")")[2].split()[6]) & 0x40 != 0
    except OSError:
        return True


def peak(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            return next((int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM:")), 0.0)
    except OSError:
        return 0.0


def stop(process):
    """End a daemon started here; seconds it took."""
    start = time.monotonic()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return time.monotonic() - start


def own_pid_namespace(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("NSpid:"):
                    return len(line.split()) == 2
    except OSError:
        pass
    return False


def tree(pid):
    """A process and all below it."""
    children = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(path.split("/")[2]))
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        todo.extend(children.get(one, ()))
    return found


def pss(pids):
    """Proportional set size in MB, shared pages split among who shares them."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total / 1024
