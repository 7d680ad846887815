"""A typed client of the SD3 image service: `Client(url, token).generate("a fox")`."""

from sd3_client.client import Client as Client
from sd3_client.errors import AuthenticationError as AuthenticationError
from sd3_client.errors import BudgetExceededError as BudgetExceededError
from sd3_client.errors import ConflictError as ConflictError
from sd3_client.errors import ContentPolicyError as ContentPolicyError
from sd3_client.errors import InvalidRequestError as InvalidRequestError
from sd3_client.errors import NotFoundError as NotFoundError
from sd3_client.errors import RateLimitedError as RateLimitedError
from sd3_client.errors import Sd3Error as Sd3Error
from sd3_client.errors import StillRunningError as StillRunningError
from sd3_client.errors import UnavailableError as UnavailableError
from sd3_client.errors import UnreachableError as UnreachableError
from sd3_client.errors import UpstreamError as UpstreamError
from sd3_client.models import Batch as Batch
from sd3_client.models import Image as Image
from sd3_client.models import Job as Job
from sd3_client.webhooks import WebhookError as WebhookError
from sd3_client.webhooks import verify_webhook as verify_webhook
