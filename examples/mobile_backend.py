"""The backend of a mobile app: its users sign in, ask for pictures, and see their own alone.

To run it, set JWT_KEYS (the address of your issuer's keys), JWT_ISSUER, JWT_AUDIENCE, BACKEND_URL
(where the service reaches this program) and WEBHOOK_SECRET (GET /webhook/secret returns it). Then:

    pip install fastapi httpx 'pyjwt[crypto]' standardwebhooks uvicorn
    set -a; . .local/env; uvicorn --app-dir examples mobile_backend:app --port 8000
"""

import sqlite3
from hashlib import sha256
from os import environ
from typing import Annotated, Any

import httpx
import jwt
from fastapi import BackgroundTasks, Body, Depends, FastAPI, Header, HTTPException, Path, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from standardwebhooks import Webhook, WebhookVerificationError

keys, webhook = jwt.PyJWKClient(environ["JWT_KEYS"]), Webhook(environ["WEBHOOK_SECRET"])
rules: Any = {"issuer": environ["JWT_ISSUER"], "audience": environ["JWT_AUDIENCE"]}
rules |= {"algorithms": ["RS256", "ES256"], "options": {"require": ["exp", "sub"]}}
headers = {"Authorization": f"Bearer {environ['SD3_API_TOKEN']}", "Accept": "application/json"}
service = httpx.AsyncClient(base_url=environ["SD3_API_URL"], headers=headers, timeout=30)
db = sqlite3.connect("messages.db", isolation_level=None, check_same_thread=False)
db.execute("CREATE TABLE IF NOT EXISTS messages (id PRIMARY KEY)")
app = FastAPI()


def signed_in(sent: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    """Return a name for the user of a JWT, in characters that a request may have."""
    key = keys.get_signing_key_from_jwt(sent.credentials)
    user = jwt.decode(sent.credentials, key, **rules)["sub"]
    return sha256(user.encode()).hexdigest()


async def call(method: str, path: str, **options: Any) -> Any:
    response = await service.request(method, path, **options)
    return response.raise_for_status().json()


User = Annotated[str, Depends(signed_in)]
Prompt = Annotated[str, Body(embed=True)]
Key = Annotated[str, Header(alias="Idempotency-Key")]
Id = Annotated[str, Path(pattern=r"^[\w-]+$")]  # it becomes a part of an address


@app.post("/pictures", status_code=202)
async def ask(user: User, key: Key, prompt: Prompt) -> dict[str, str]:
    """Queue a picture. An app that repeats its call with its key gets the same one."""
    request = {"prompt": prompt, "placeholder": "thumbhash", "metadata": {"user": user}}
    request["webhook"] = {"url": f"{environ['BACKEND_URL']}/hooks/images"}
    of_user = sha256(f"{user} {key}".encode()).hexdigest()  # so no user meets another's key
    options = {"Idempotency-Key": of_user, "Prefer": "respond-async"}
    job = await call("POST", "/generate/sd3", json=request, headers=options)
    return {"id": job["id"], "status": job["status"]}


@app.get("/pictures/{picture}")
async def show(user: User, picture: Id, width: int = 384) -> dict[str, Any]:
    """Return a blur to draw at once, and a link to the picture as wide as the phone needs it."""
    job = await call("GET", f"/jobs/{picture}")
    if job["metadata"].get("user") != user:
        raise HTTPException(404, "There is no such job.")
    shown = {"id": picture, "status": job["status"], "error": job["error"]}
    if job["status"] == "succeeded":
        size = {"width": width, "format": "webp"}
        link = await call("GET", f"/jobs/{picture}/images/0", params=size)
        shown |= {"thumbhash": job["images"][0]["thumbhash"], "url": link["url"]}
    return shown


@app.post("/hooks/images", status_code=204)
async def heard(request: Request, later: BackgroundTasks) -> None:
    """Tell the user's phone of the end of a job, once for each message."""
    try:
        job = webhook.verify(await request.body(), dict(request.headers))["data"]
    except (WebhookVerificationError, ValueError) as error:
        raise HTTPException(401) from error
    message = (request.headers["webhook-id"],)
    new = db.execute("INSERT OR IGNORE INTO messages VALUES (?)", message).rowcount
    if new and (user := job.get("metadata", {}).get("user")):
        # Here APNs or FCM is called. A push that is lost is no harm, since the app asks too.
        later.add_task(print, "push to", user, job["id"], job["status"], flush=True)


@app.exception_handler(jwt.PyJWTError)
@app.exception_handler(httpx.HTTPError)
def failed(_: Request, error: Exception) -> JSONResponse:
    """Pass on what the user can mend. What may pass by itself is a 503, which the app repeats."""
    response = error.response if isinstance(error, httpx.HTTPStatusError) else None
    if response is not None and response.status_code in {400, 404, 409, 410, 422}:
        told = response.json()
        return JSONResponse({"detail": told.get("detail", told["message"])}, response.status_code)
    may_pass = isinstance(error, httpx.HTTPError | jwt.PyJWKClientConnectionError)
    return JSONResponse(
        {"detail": "Try again" if may_pass else "Sign in"}, 503 if may_pass else 401
    )
