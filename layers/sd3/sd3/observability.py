"""The structured log: the one import of Powertools' core in the package."""

from functools import cache

from aws_lambda_powertools import Logger


@cache
def logger() -> Logger:
    """Build the structured log; it never holds tokens, prompts, links or images."""
    return Logger()
