"""Jobs to store in the table."""

from datetime import timedelta
from typing import Any

from sd3.domain.job import Job, JobStatus
from tests.support.fakes.ports import NOON


def job(job_id: str = "j", **changes: Any) -> Job:
    """Make a job whose second attempt runs, with a lease until noon."""
    return Job.model_validate(
        {
            "id": job_id,
            "client_id": "ann",
            "status": JobStatus.RUNNING,
            "created_at": NOON,
            "expires_at": NOON + timedelta(days=1),
            "request": {"prompt": "a fox"},
            "seeds": (1,),
            "attempt": 2,
            "lease_until": NOON,
        }
        | changes
    )
