# SPDX-License-Identifier: Apache-2.0
"""Which operation of the API a request is, and whether its answer fits the schema: both from the project's own spec/.

spec/ is YAML; only its path, method and operationId lines are needed here, and those are found by their indentation, so
that the harness needs nothing beyond the Python library. Schemas are judged by spec/tools/validate.py.
"""

import glob
import importlib.util
import os
import re
from urllib.parse import urlsplit

from .engine import TOP

METHODS = ("get", "head", "post", "put", "delete", "options")
_PATH = re.compile(r"^  '?(/[^':]*)'?:\s*(?:#.*)?$")
_METHOD = re.compile(r"^    (" + "|".join(METHODS) + r"):\s*$")
_ID = re.compile(r"^      operationId:\s*(\w+)")


class Operations:
    """The path templates of the API; longest literal match first, as a router would."""

    def __init__(self, folder=None):
        self._by_method, self.ids = {}, set()
        for path in sorted(glob.glob(os.path.join(folder or os.path.join(TOP, "spec"), "*.yaml"))):
            self._read(path)
        for entries in self._by_method.values():
            entries.sort(key=lambda entry: entry[0].count("{"))

    def _read(self, path):
        template = method = None
        with open(path, encoding="utf-8") as file:
            for line in file:
                if match := _PATH.match(line):
                    template, method = match.group(1), None
                elif match := _METHOD.match(line):
                    method = match.group(1).upper()
                elif (match := _ID.match(line)) and template and method:
                    self._add(method, template, match.group(1))
                elif line and not line[0].isspace() and not line.startswith("#"):
                    template = method = None

    def _add(self, method, template, operation):
        # A name may hold slashes (an image's); a literal end after it still has to fit.
        pattern = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
        pattern = re.sub(r"\{name\}", "(.+)", pattern)
        pattern = re.sub(r"\{\w+\}", "([^/]+)", pattern)
        self._by_method.setdefault(method, []).append((template, re.compile(pattern + r"/?$"), operation))
        self.ids.add(operation)

    def find(self, method, target):
        """(operation id or "", path template or the bare path)"""
        path = re.sub(r"^/v\d+\.\d+(?=/)", "", urlsplit(target).path)
        for template, pattern, operation in self._by_method.get(method, []):
            if pattern.fullmatch(path):
                return operation, template
        return "", path


def load_validator(folder=None):
    """problems(operation, status, [documents]) -> [sentence] by spec/tools/validate.py, or None while there is none."""
    path = os.path.join(folder or os.path.join(TOP, "spec", "tools"), "validate.py")
    if not os.path.exists(path):
        return None
    module_spec = importlib.util.spec_from_file_location("hatake_spec_validate", path)
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except ImportError:
        return None             # its own needs (a YAML reader) are not installed here
    streams = getattr(module, "STREAM_MESSAGES", {})

    def problems(operation, status, documents):
        if operation in streams and status == 200:
            return [problem for document in documents for problem in module.validate_message(operation, document)]
        return module.validate(operation, status, documents[0]) if len(documents) == 1 else []
    return problems


def known_deviations(folder=None):
    """The ids listed in spec/deviations.yaml; None when there is no such file."""
    path = os.path.join(folder or os.path.join(TOP, "spec"), "deviations.yaml")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return set(re.findall(r"^\s*(?:-\s+)?(?:id:\s*)?['\"]?(D-[A-Z]+-\d+)\b", file.read(), re.M))
