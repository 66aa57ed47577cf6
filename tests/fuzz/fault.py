"""What a target found."""


class Fault(Exception):
    """A fault: the file with the input that leads to it, None if there is none, and what the target said."""

    def __init__(self, path, said):
        super().__init__(path, said)
        self.path, self.said = path, said
