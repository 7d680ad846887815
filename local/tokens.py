"""python -m local.tokens CLIENT: make a client's token; the last line that is printed is it."""

import argparse
import sys

from botocore.exceptions import BotoCoreError, ClientError

from local.deployed import chosen
from local.processes import StackError
from sd3.errors import StorageError


def main(arguments: list[str]) -> int:
    """Print a new token; the exit status."""
    parser = argparse.ArgumentParser(prog="make token", description=__doc__)
    parser.add_argument("client", metavar="CLIENT", help="1 to 63 of a-z, 0-9 and -")
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    options = parser.parse_args(arguments)
    try:
        token = chosen(options.stack).issue_token(options.client)
    except (StackError, ValueError, StorageError, BotoCoreError, ClientError) as error:
        print(f"no token was made: {error}", file=sys.stderr)
        return 1
    print("It is shown this once; only its hash is kept.", file=sys.stderr)
    print(token)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
