"""Figures by (data, n, model, state), kept in a JSON file with the commands that made them."""

import json
import math
from pathlib import Path


class Results:
    """Figures of one file; of none if `path` is None. A figure that is not finite is None in the file, as JSON knows no inf."""

    def __init__(self, path=None):
        self.path, self.figures, self.commands = path and Path(path), {}, []
        if self.path and self.path.exists():
            content = json.loads(self.path.read_text())
            self.commands = content["commands"]
            for figure in content["figures"]:
                self._put(figure)

    def _put(self, figure):
        self.figures[figure["data"], figure["n"], figure["model"], figure["state"]] = figure

    def add(self, figure, command):
        """Keep a figure, a dictionary, and the command that makes it."""
        self._put(figure)
        if command not in self.commands:
            self.commands.append(command)
        if self.path:
            commands = ",\n".join(json.dumps(command) for command in self.commands)
            figures = ",\n".join(json.dumps(figure) for figure in self.figures.values())
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(f'{{"commands": [\n{commands}\n],\n"figures": [\n{figures}\n]}}\n')
            temporary.replace(self.path)

    def of(self, data, n):
        """{model: {state: figure}} of a cell."""
        found = {}
        for key, figure in self.figures.items():
            if key[:2] == (data, n):
                found.setdefault(figure["model"], {})[figure["state"]] = figure
        return found


def nats(figures):
    """{state: nats} of {state: figure}."""
    return {state: math.inf if figure["nats"] is None else figure["nats"] for state, figure in figures.items()}
