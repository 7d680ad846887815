"""The context that Lambda hands a function beside its event."""

from types import SimpleNamespace


def lambda_context(*, seconds: float = 300) -> SimpleNamespace:
    """Make the context of a function that has so many seconds left."""
    return SimpleNamespace(
        function_name="sd3-Function",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:sd3-Function",
        aws_request_id="5a3d6f0e-0000-4000-8000-000000000000",
        get_remaining_time_in_millis=lambda: int(seconds * 1000),
    )
