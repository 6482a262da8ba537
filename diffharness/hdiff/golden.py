# SPDX-License-Identifier: Apache-2.0
"""Goldens: what the reference answered, normalised, one JSON file for each scenario.

A file holds one recording for each CLI version that it was recorded with ("none" for a scenario of requests alone) and
says exactly which build of the reference answered.
"""

import json
import os

from .engine import TOP

FOLDER = os.path.join(TOP, "golden")


def path_of(scenario, folder=None):
    return os.path.join(folder or FOLDER, scenario.section, scenario.name + ".json")


def load(scenario, folder=None):
    """The whole file, or None."""
    try:
        with open(path_of(scenario, folder), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def recording(scenario, cli, folder=None):
    """The recorded steps for this CLI version; the only recording there is when the CLI does not matter."""
    data = load(scenario, folder)
    return None if data is None else data["recordings"].get(cli)


def store(scenario, cli, outcomes, reference, folder=None):
    """Adds or replaces one recording; reference is {"version", "package", …}. The file is replaced in one step."""
    path = path_of(scenario, folder)
    data = load(scenario, folder) or {"recordings": {}}
    steps = [{"do": outcome.step.text, "result": outcome.result} for part, outcome in outcomes if part == "steps"]
    recordings = data["recordings"]
    if cli == "none":
        recordings = {}
    else:
        recordings.pop("none", None)
    if scenario.cli == "26":
        recordings = {version: kept for version, kept in recordings.items() if version.startswith("26.")}
    recordings[cli] = steps
    data = {"scenario": scenario.full_name, "reference": reference, "recordings": dict(sorted(recordings.items()))}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.write("\n")
    os.replace(path + ".new", path)
    return path
