"""python -m sd3_client: the command sd3, where its script is not on the path."""

import sys

from sd3_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
