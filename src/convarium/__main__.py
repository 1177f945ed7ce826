"""`python -m convarium`: the same as the command `convarium`."""

import sys

from convarium.cli import main

if __name__ == "__main__":
    sys.exit(main())
