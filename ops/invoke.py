"""python -m ops.invoke FUNCTION EVENT: run one deployed function with an event from a file.

The file may be of StreamFailuresBucket: Lambda writes there the event that a function has failed.
"""

import argparse
import json
import sys
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from ops.stacks import StackError, find_stack


def main(arguments: list[str]) -> int:
    """Print the function's result, and return the exit status.

    It is 1 when the function raised, or has reported a part of the event that it could not handle.
    """
    parser = argparse.ArgumentParser(prog="make invoke", description=__doc__)
    parser.add_argument("function", metavar="FUNCTION", help="a folder of functions/")
    parser.add_argument("event", metavar="EVENT", type=Path, help="a file of events/")
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    options = parser.parse_args(arguments)
    try:
        deployed = find_stack(options.stack)
        response = deployed.client("lambda").invoke(
            FunctionName=deployed.resource(logical_id(options.function)),
            Payload=event_in(options.event.read_bytes()),
        )
    except (StackError, OSError, ValueError, BotoCoreError, ClientError) as error:
        print(f"not invoked: {error}", file=sys.stderr)
        return 1
    result = json.load(response["Payload"])
    print(json.dumps(result, indent=2))
    left = isinstance(result, dict) and result.get("batchItemFailures")
    return 1 if "FunctionError" in response or left else 0


def event_in(text: bytes) -> bytes:
    """Return the event of a file, or of Lambda's record about it. Raises ValueError for no JSON."""
    values = json.loads(text)
    event = values["payload"] if isinstance(values, dict) and "payload" in values else values
    return (event if isinstance(event, str) else json.dumps(event)).encode()


def logical_id(folder: str) -> str:
    """Return the logical id of a function's folder: dead_letters is DeadLettersFunction."""
    return folder.title().replace("_", "") + "Function"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
