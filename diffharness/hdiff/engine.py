# SPDX-License-Identifier: Apache-2.0
"""One engine under test: its socket, its namespaces, the docker CLI that talks to it, and what it holds.

The names come from `ci/lab env`; any of them can be set in the environment instead, so that an engine started by hand
can be judged too (ENGINE_HOST and ENGINE_HOLDER_PID are enough).
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from . import wire

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REFERENCE_PACKAGE = "docker.io"


# Join the version 2 cgroup of process $1, then go on as the other words.
JOIN = """\
group=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
for at in /sys/fs/cgroup/unified /sys/fs/cgroup; do [ ! -f "$at$group/cgroup.procs" ] || echo $$ >"$at$group/cgroup.procs"; done
shift
exec "$@"
"""


def delegated():
    """Are cgroup namespaces borders here, so that a daemon which came from outside could not start containers in one?"""
    with open("/proc/mounts", encoding="ascii", errors="replace") as f:
        return any(line.split()[2] == "cgroup2" and "nsdelegate" in line.split()[3].split(",") for line in f)


class EngineError(Exception):
    """There is no such engine, or it does not answer."""


def lab_environment():
    """{NAME: value} of ci/lab env, overridden by the environment of this process."""
    values = {}
    lab = os.path.join(TOP, "ci", "lab")
    if os.access(lab, os.X_OK):
        done = subprocess.run([lab, "env"], capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            name, sep, value = line.partition("=")
            if sep:
                values[name] = value.strip().strip("'\"")
    names = set(values) | {f"{who}_{what}" for who in ("ENGINE", "REFERENCE")
                           for what in ("HOST", "HOLDER_PID", "NETNS", "ADDRESS", "SHARE", "CGROUP", "ROOT")}
    names |= {"DOCKER_CLI", "DOCKER_CLI_26", "NEIGHBOUR_NETNS", "IMAGES", "SHARE_INSIDE"}
    for name in names:
        if os.environ.get(name):
            values[name] = os.environ[name]
    return values


@dataclass
class Engine:
    role: str                       # reference or ours
    host: str
    holder: str = ""                # a process in the engine's mount and network namespaces
    neighbour: str = ""             # name of the network namespace next door
    variables: dict = field(default_factory=dict)      # %{name} in scenarios
    private: bool = False           # nobody else uses this engine: left-overs may be removed
    tap_host: str = ""              # where the CLI is sent, when a tap listens in front

    def version(self):
        answer = wire.fetch(self.host, "GET", "/version", timeout=60)
        if answer.status != 200:
            raise EngineError(f"{self.role}: GET /version answers {answer.status}")
        return json.loads(answer.body)

    def get_json(self, target):
        answer = wire.fetch(self.host, "GET", target, timeout=120)
        if answer.status != 200:
            raise EngineError(f"{self.role}: GET {target} answers {answer.status}: {answer.body[:200].decode(errors='replace')}")
        return json.loads(answer.body) if answer.body else None

    def inside(self, command):
        """The words that run a shell command in the engine's mount, network and cgroup namespaces."""
        if not self.holder:
            return ["/bin/sh", "-c", command]
        enter = ["nsenter", "-m", "-n", "-C", "-t", str(self.holder), "--", "/bin/sh", "-c", command]
        return ["/bin/sh", "-c", JOIN, "sh", str(self.holder), *enter] if delegated() else enter

    def on_network(self, command):
        """The words that run a shell command of the machine in the engine's network namespace alone."""
        if not self.holder:
            return ["/bin/sh", "-c", command]
        return ["nsenter", "-n", "-t", str(self.holder), "--", "/bin/sh", "-c", command]

    def next_door(self, command):
        """The words that run a shell command in another network namespace that reaches this engine's."""
        if not self.neighbour:
            raise EngineError("no neighbour namespace (ci/lab up neighbour)")
        return ["nsenter", f"--net=/run/netns/{self.neighbour}", "--", "/bin/sh", "-c", command]

    def lacks(self, scenario):
        """What the scenario needs and this engine's surroundings do not give, as a sentence; empty when nothing is missing."""
        steps = scenario.setup + scenario.steps + scenario.cleanup
        text = "\n".join(" ".join((s.command, s.target, s.body_file, *s.body)) for s in steps)
        missing = sorted(name for name in set(re.findall(r"%\{(\w+)\}", text)) if self.variables.get(name, "-") == "")
        if any(s.where == "other" for s in steps) and not self.neighbour:
            missing.append("neighbour")
        return f"the lab gives no {', '.join(missing)}" if missing else ""

    def census(self):
        """{kind: {name: description}} of what the engine holds; an operation that it lacks counts as nothing held."""
        found = {}
        for kind, target, pick in (
                ("containers", "/v1.45/containers/json?all=1", lambda d: {c["Id"]: f"{c['Names']} {c['Command']} {c['Status']}" for c in d or []}),
                ("volumes", "/v1.45/volumes", lambda d: {v["Name"]: "" for v in (d or {}).get("Volumes") or []}),
                ("networks", "/v1.45/networks", lambda d: {n["Id"]: n["Name"] for n in d or []}),
                ("images", "/v1.45/images/json", lambda d: {t: "" for i in d or [] for t in (i.get("RepoTags") or []) + [i["Id"]]}),
        ):
            try:
                found[kind] = pick(self.get_json(target))
            except (EngineError, wire.WireError, ValueError, KeyError, TypeError):
                found[kind] = {}
        return found

    def remove(self, kind, name):
        """Best effort removal of something that a scenario left behind."""
        target = {"containers": f"/v1.45/containers/{name}?force=1&v=1", "volumes": f"/v1.45/volumes/{name}?force=1",
                  "networks": f"/v1.45/networks/{name}", "images": f"/v1.45/images/{name}?force=1"}[kind]
        try:
            wire.fetch(self.host, "DELETE", target, timeout=120)
        except wire.WireError:
            pass


def _make(role, prefix, env):
    host = env.get(f"{prefix}_HOST")
    if not host:
        return None
    share = env.get("SHARE_INSIDE", "/srv/lab")
    variables = {
        "address": env.get(f"{prefix}_ADDRESS", ""), "cgroup": env.get(f"{prefix}_CGROUP", ""),
        "holder": env.get(f"{prefix}_HOLDER_PID", ""),
        "socket_dir": os.path.dirname(urlsplit(host).path),
        "daemon": "/usr/sbin/dockerd" if prefix == "REFERENCE" else os.environ.get("ENGINE_BIN", os.path.join(TOP, "build", "bin", "hataked")),
        "root": "/var/lib/docker", "tools": os.path.join(TOP, "diffharness", "tools"), "share": share,
        "share_outside": env.get(f"{prefix}_SHARE", share), "images": env.get("IMAGES", ""),
        "registry": env.get("REGISTRY", ""), "registry_basic": env.get("REGISTRY_BASIC", ""),
        "registry_token": env.get("REGISTRY_TOKEN", ""), "registry_user": env.get("REGISTRY_USER", ""),
        "registry_password": env.get("REGISTRY_PASSWORD", ""), "registry_plain": env.get("REGISTRY_PLAIN", ""),
    }
    return Engine(role, host, env.get(f"{prefix}_HOLDER_PID", ""), env.get("NEIGHBOUR_NETNS", ""), variables,
                  os.environ.get("HATAKE_LAB", "") not in ("", "hatake-lab"))


def find_engines(env):
    """(reference or None, ours or None)"""
    return _make("reference", "REFERENCE", env), _make("ours", "ENGINE", env)


def find_clis(env, wanted):
    """{version: path} for `26`, `new` or `all`; the newest is whatever docker is on the PATH."""
    paths = []
    if wanted in ("26", "all"):
        paths.append(env.get("DOCKER_CLI_26", ""))
    if wanted in ("new", "all"):
        paths.append(env.get("DOCKER_CLI") or shutil.which("docker") or "")
    found = {}
    for path in paths:
        if path and os.access(path, os.X_OK):
            done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            version = done.stdout.split("version", 1)[-1].split(",")[0].strip().split("+")[0]
            if done.returncode == 0 and version:
                found.setdefault(version, path)
    return found


def find_plugin(name):
    """The path of a plugin for the docker CLI; empty when this machine cannot have it."""
    done = subprocess.run([os.path.join(TOP, "ci", "docker-cli"), "--" + name], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def reference_package(engine):
    """The exact package version of the reference, asked in its own tree; empty when it is not a Debian package."""
    done = subprocess.run(engine.inside("dpkg-query -W -f '${Version}' " + REFERENCE_PACKAGE), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
