# SPDX-License-Identifier: Apache-2.0
"""The rules that hold for progress streams: each is broken once."""
import unittest

from hdiff import streams


def event(status, layer="1", current=0, total=0, **more):
    detail = {key: value for key, value in (("current", current), ("total", total)) if value}
    text = streams.bar(current, total)
    return {"status": status, "progressDetail": detail, **({"progress": text} if text else {}), "id": layer, **more}


HEAD = {"status": "Pulling from x", "id": "latest"}
TAIL = [{"status": "Digest: d"}, {"status": "Status: Downloaded newer image for x"}]
GOOD = [event("Pulling fs layer"), event("Waiting"), event("Downloading", current=10, total=100), event("Downloading", current=100, total=100),
        event("Verifying Checksum"), event("Download complete"), event("Extracting", current=100, total=100), event("Pull complete")]
PUSHED = [event("Preparing"), event("Waiting"), event("Pushing", current=1, total=2), event("Pushing", current=1536, total=2), event("Pushed")]
SENT = [{"status": "1: digest: d size: 1"}, {"progressDetail": {}, "aux": {"Tag": "1", "Digest": "d", "Size": 1}}]


class Streams(unittest.TestCase):
    def faults(self, *layer, head=(HEAD,), tail=tuple(TAIL)):
        return [fault.split(": ", 2)[-1] for fault in streams.events([*head, *layer, *tail])["faults"]]

    def test_a_good_pull(self):
        got = streams.events([HEAD, *GOOD, *TAIL])
        self.assertEqual(got["faults"], [])
        self.assertEqual([e["status"] for e in got["sections"][0]["layers"]["1"]], ["Pulling fs layer", "Pull complete"])
        self.assertEqual((got["sections"][0]["announced"], got["sections"][0]["completed"]), (["1"], ["1"]))
        self.assertEqual(len(got["sections"][0]["messages"]), 3)

    def test_a_good_push(self):
        for end in ("Pushed", "Layer already exists", "Mounted from a/b"):
            self.assertEqual(self.faults(*PUSHED[:2], event(end), head=(), tail=SENT), [], end)
        self.assertEqual(self.faults(*PUSHED, head=(), tail=SENT), [])
        again = [event("Preparing"), event("Pushing", current=9, total=10), event("Retrying in 5 seconds"), event("Pushing", current=1, total=10), event("Pushed")]
        self.assertEqual(self.faults(*again, head=(), tail=SENT), [])

    def test_tags_are_sections(self):
        pulled = streams.events([HEAD, *GOOD, TAIL[0], HEAD, event("Already exists"), *TAIL])
        self.assertEqual((len(pulled["sections"]), pulled["faults"]), (2, []))
        pushed = streams.events([*PUSHED, *SENT, event("Preparing"), event("Layer already exists"), *SENT])
        self.assertEqual((len(pushed["sections"]), pushed["faults"]), (2, []))

    def test_counters(self):
        self.assertEqual(self.faults(*GOOD[:3], event("Downloading", current=9, total=100), *GOOD[4:]), ["counts backwards"])
        self.assertEqual(self.faults(*GOOD[:2], event("Downloading", current=101, total=100), *GOOD[4:]), ["more than there is"])
        self.assertEqual(self.faults(*GOOD[:3], event("Downloading", current=20, total=90), *GOOD[4:]), ["another total"] * 2)
        self.assertEqual(self.faults(*GOOD[:2], event("Downloading", current=20, total=100, progress="x"), *GOOD[4:]), ["the text is not that of the counter"])
        self.assertEqual(self.faults(*GOOD[:7], event("Pull complete", current=1)), ["counts where nothing is counted"])

    def test_order(self):
        self.assertEqual(self.faults(*GOOD[:4], GOOD[5], GOOD[4], *GOOD[6:]), ["out of order"])
        self.assertEqual(self.faults(GOOD[0], *GOOD), ["out of order"])
        self.assertEqual(self.faults(*GOOD, GOOD[4]), ["something after the end", "out of order"])
        self.assertEqual(self.faults(*GOOD[:-1]), ["never ends"])
        self.assertEqual(self.faults(GOOD[0], event("Dreaming"), *GOOD[1:]), ["no such status"])
        self.assertEqual(self.faults(*GOOD[:-1], tail=[*TAIL, GOOD[-1]]), ["after the digest or an error"])

    def test_an_error_ends_it(self):
        self.assertEqual(self.faults(*GOOD[:4], tail=[{"errorDetail": {"message": "m"}, "error": "m"}]), [])
        self.assertEqual(self.faults(*GOOD[:4], tail=[{"errorDetail": {"message": "m"}, "error": "n"}]), ["two texts of one error"])

    def test_an_import_counts_for_itself(self):
        def importing(current):
            return {"status": "Importing", "progressDetail": {"current": current, "total": 9}, "progress": streams.bar(current, 9)}
        got = streams.events([{"status": "Downloading from x"}, importing(1), importing(9), {"status": "sha256:1"}])
        self.assertEqual(([m["status"] for m in got["sections"][0]["messages"]], got["faults"]), (["Downloading from x", "Importing", "sha256:1"], []))
        self.assertEqual(streams.events([importing(9), importing(1)])["faults"], ["Importing: counts backwards"])

    def test_the_text_of_a_counter(self):
        self.assertEqual(streams.bar(262144, 1036639), "[============>                                      ]  262.1kB/1.037MB")
        self.assertEqual(streams.bar(5, 0), "      5B")
        self.assertEqual(streams.bar(0, 0), "")
        self.assertEqual(streams.bar(3, 2), "[" + "=" * 50 + ">]       3B")


if __name__ == "__main__":
    unittest.main()
