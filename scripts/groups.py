"""Command line: `python -m scripts.groups MATRIX.csv --best --size 3 -o groups.yaml`;
see `scripts.transfer.groups`.
"""

import sys

from scripts.transfer.groups import main

if __name__ == "__main__":
    sys.exit(main())
