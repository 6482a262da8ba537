# SPDX-License-Identifier: Apache-2.0
"""Progress streams of pull and push, event by event: what must hold for each event of either engine, and what both must say alike.

How often a counter moves depends on timing alone, and the reference drops an event when the next one is faster than its reader. So nothing is compared here
that timing decides; instead every event of a stream is held against the rules below, and what breaks one is a fault. No faults, equal sections: equal streams.

A section is what belongs to one tag: it begins with "Pulling from" and ends with the digest and whatever is left, or, of a push, with the digest and its aux.
"""
import re

PULL = {status: rank for rank, status in enumerate(
    ("Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"))}
PUSH = {"Preparing": 0, "Waiting": 1, "Pushing": 2, "Layer already exists": 3, "Mounted from": 3, "Pushed": 3}
COUNTED = ("Downloading", "Extracting", "Pushing")
LAST = ("Pull complete", "Already exists", "Layer already exists", "Mounted from", "Pushed")
# Of a layer what timing has no say in.
FLEETING = ("Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Preparing", "Pushing", "Retrying")


def human(size):
    """1234567 as 1.235MB."""
    unit, value = 0, float(size)
    while value >= 1000 and unit < 6:
        value, unit = value / 1000, unit + 1
    return f"{value:.4g}" + ("B", "kB", "MB", "GB", "TB", "PB", "EB")[unit]


def bar(current, total):
    """The text that goes with a counter."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human(current):>8}"
    done = min(int(current / total * 100) // 2, 50)
    return f"[{'=' * done}>{' ' * (50 - done)}] {human(current):>8}" + (f"/{human(total)}" if current <= total else "")


def kind_of(status):
    return "Mounted from" if status.startswith("Mounted from ") else "Retrying" if status.startswith("Retrying in ") else status


class Layer:
    """One layer of a section, as far as it has come."""

    def __init__(self):
        self.at, self.counter, self.total, self.ended = -1, 0, None, False
        self.seen = []

    def take(self, event):
        """The rules that the event breaks."""
        faults = []
        status = kind_of(event.get("status", ""))
        rank = 0 if status == "Already exists" else PULL.get(status) if status in PULL and self.pulled(status) else PUSH.get(status)
        detail = event.get("progressDetail")
        if self.ended:
            faults.append("something after the end")
        if status == "Retrying":
            self.at, self.counter = 0, 0
        elif rank is None:
            faults.append("no such status")
        elif rank < self.at or (rank == self.at and status not in COUNTED):
            faults.append("out of order")
        else:
            if rank > self.at:
                self.counter = 0
            self.at = rank
        if not isinstance(detail, dict):
            faults.append("no progressDetail")
        elif status in COUNTED:
            faults += self.count(detail, event.get("progress"), status)
        elif detail or "progress" in event:
            faults.append("counts where nothing is counted")
        self.ended = self.ended or status in LAST
        if status not in FLEETING and (not self.seen or self.seen[-1] != event):
            self.seen.append(event)
        return faults

    def pulled(self, status):
        """"Waiting" is a status of both."""
        return status != "Waiting" or not self.seen or self.seen[0].get("status") in PULL

    def count(self, detail, text, status):
        current, total = detail.get("current", 0), detail.get("total", 0)
        faults = []
        if current < self.counter:
            faults.append("counts backwards")
        if status != "Pushing":         # the bytes of an upload are those of its archive, its total those of the files in it
            if current > total:
                faults.append("more than there is")
            if self.total not in (None, total):
                faults.append("another total")
            self.total = total
        if (text or "") != bar(current, total):
            faults.append("the text is not that of the counter")
        self.counter = current
        return faults


class Section:
    def __init__(self):
        self.messages, self.layers, self.announced, self.completed = [], {}, [], []
        self.imported = Layer()

    def value(self):
        return {"messages": self.messages, "announced": self.announced, "completed": self.completed,
                "layers": {name: layer.seen for name, layer in self.layers.items()}}


def is_head(event):
    return event.get("status", "").startswith("Pulling from ")


def events(items):
    """{"sections": [...], "faults": [...]} of the documents of a stream."""
    sections, faults = [Section()], []
    for item in items:
        status, now = item.get("status", ""), sections[-1]
        if is_head(item) and (now.messages or now.layers):
            now = Section()
            sections.append(now)
        if "id" in item and not is_head(item):
            name = item["id"]
            if any("Digest: " in m.get("status", "") or re.search(": digest: ", m.get("status", "")) or "error" in m for m in now.messages):
                if not any("aux" in m for m in now.messages):
                    faults.append(f"{name}: {status}: after the digest or an error")
                else:               # the next tag of a push
                    now = Section()
                    sections.append(now)
            layer = now.layers.setdefault(name, Layer())
            if not layer.seen and layer.at < 0 and status != "Waiting":
                now.announced.append(name)
            faults += [f"{name}: {status}: {fault}" for fault in layer.take(item)]
            if kind_of(status) == "Pull complete":
                now.completed.append(name)
            continue
        if status == "Importing":   # an import's counter belongs to no layer; how often it moves does not count
            faults += [f"{status}: {fault}" for fault in now.imported.count(item.get("progressDetail", {}), item.get("progress"), status)]
            item = {"status": status}
            if item in now.messages:
                continue
        if "errorDetail" in item and item.get("error") != item["errorDetail"].get("message"):
            faults.append("two texts of one error")
        now.messages.append(item)
    for section in sections:
        broken = any("error" in m for m in section.messages)
        for name, layer in section.layers.items():
            if not layer.ended and not broken:
                faults.append(f"{name}: never ends")
    return {"sections": [s.value() for s in sections], "faults": faults}
