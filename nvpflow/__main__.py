"""``python -m nvpflow``: the command line. See `nvpflow.cli`."""

import sys

from nvpflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
