# SPDX-License-Identifier: Apache-2.0
"""Podman beside the lab's engines, for the rows of ci/bench about images: its service speaks their API. It sees the network and the authorities of our engine's
part of the lab, and has a store of its own beside that part's data, on the same disk; both go with it."""
import ctypes
import os
import shutil
import subprocess
import tempfile
import time

from bench_engine import OUT, Engine, Failed, stop, tree

CLONE_NEWNS = 0x20000


class Podman(Engine):
    def __init__(self, env):  # pylint: disable=super-init-not-called
        binary = shutil.which("podman")
        if not binary:
            raise Failed("podman is not installed (Debian: podman)")
        self.name, self.clients, self.counter, self.process = "podman", [], 0, None
        self.folder = tempfile.mkdtemp(prefix="podman-", dir=env["ENGINE_SHARE"])
        self.socket = os.path.join(self.folder, "socket")
        inside = os.path.join(env["SHARE_INSIDE"], os.path.basename(self.folder))
        os.makedirs(OUT, exist_ok=True)
        with open(os.path.join(OUT, "podman.log"), "wb") as log:
            self.process = subprocess.Popen([binary, "--root", inside + "/root", "--runroot", inside + "/run", "--tmpdir", inside + "/tmp", "--storage-driver", "overlay",
                                             "--cgroup-manager", "cgroupfs", "--events-backend", "file", "system", "service", "--time", "0", f"unix://{inside}/socket"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self.entering(int(env["ENGINE_HOLDER_PID"])), start_new_session=True)
        start = time.monotonic()
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() - start > 60:
                self.end()
                raise Failed(f"podman does not start; see {OUT}/podman.log")
            time.sleep(0.05)

    @staticmethod
    def entering(holder):
        """What a child does to be in the lab. What it mounts for its store is its own, and ends with it."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter():
            fds = [os.open(f"/proc/{holder}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "mnt")]
            for fd in fds:
                if libc.setns(fd, 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            if libc.unshare(CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            os.chdir("/")
        return enter

    def processes(self):
        return tree(self.process.pid)

    def clean(self):
        """Nothing of it outlives end()."""

    def end(self):
        self.close()
        if self.process:
            stop(self.process)
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=False)
