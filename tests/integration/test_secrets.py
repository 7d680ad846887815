"""The upstreams' keys in Secrets Manager: read once, again when rejected, and never another's."""

import subprocess
import sys
from threading import Event
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from sd3.adapters.aws import Aws
from sd3.adapters.secrets import MasterSecrets, UpstreamKeys
from sd3.errors import StorageError, UpstreamKeyError


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Secret:
    """The secret, and how often it was read."""

    def __init__(self, aws: Aws) -> None:
        self.aws, self.reads, self.clock = aws, 0, Clock()
        aws.secrets.meta.events.register("before-call.secrets-manager.GetSecretValue", self._count)

    def _count(self, **_: Any) -> None:
        self.reads += 1

    def write(self, text: str) -> None:
        self.aws.secrets.put_secret_value(SecretId="upstream-token", SecretString=text)

    def fail(self, error: Exception) -> None:
        """Let every read fail."""

        def fail(**_: Any) -> None:
            raise error

        self.aws.secrets.meta.events.register("before-call.secrets-manager.GetSecretValue", fail)

    def keys(self, *, plain_for: str | None = None, arn: str = "upstream-token") -> UpstreamKeys:
        return UpstreamKeys(lambda: self.aws.secrets, arn, plain_for=plain_for, clock=self.clock)


@pytest.fixture
def secret(aws: Aws) -> Secret:
    return Secret(aws)


def test_a_secret_is_read_once(secret: Secret) -> None:
    key = secret.keys(plain_for="stability").of("stability")
    assert (key.read(), key.read(), secret.reads) == ("secret", "secret", 1)


def test_a_plain_secret_is_used_for_no_other_upstream(secret: Secret) -> None:
    keys = secret.keys(plain_for="stability")
    assert (keys.of("stability").read(), keys.of("bedrock").read()) == ("secret", "")


def test_keys_of_several_upstreams_go_by_name(secret: Secret) -> None:
    secret.write(' {"stability": " sk-1\\n", "openai": 5}')
    keys = secret.keys()
    assert [keys.of(name).read() for name in ("stability", "openai", "octoai")] == ["sk-1", "", ""]


def test_a_rotated_key_is_found_once_the_old_one_is_rejected(secret: Secret) -> None:
    key = secret.keys(plain_for="octoai").of("octoai")
    assert key.read() == "secret"
    secret.write("new")
    assert key.read() == "secret"
    assert key.renew("secret")
    assert (key.read(), secret.reads) == ("new", 2)


def test_a_key_that_stays_wrong_is_not_read_again_at_every_call(secret: Secret) -> None:
    key = secret.keys(plain_for="octoai").of("octoai")
    assert not key.renew("secret")
    assert not key.renew("secret")
    assert secret.reads == 1
    secret.clock.now = 60
    assert not key.renew("secret")
    assert secret.reads == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [("sk-1", "must be JSON"), ("{sk-1", "neither text nor JSON")],
)
def test_a_secret_of_the_wrong_form_is_an_error_that_does_not_quote_it(
    secret: Secret, text: str, message: str
) -> None:
    secret.write(text)
    with pytest.raises(UpstreamKeyError, match=message) as caught:
        secret.keys().of("stability").read()
    assert "sk-1" not in caught.value.message


def test_a_secret_that_does_not_exist_is_a_precise_error(secret: Secret) -> None:
    with pytest.raises(UpstreamKeyError, match="does not exist"):
        secret.keys(arn="nowhere").of("stability").read()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", "may not be used"),
        ("DecryptionFailure", "cannot be decrypted"),
        ("InvalidRequestException", "scheduled for deletion"),
    ],
)
def test_a_secret_that_is_refused_is_a_precise_error_and_a_line_of_the_log(
    secret: Secret, caplog: pytest.LogCaptureFixture, code: str, message: str
) -> None:
    """AWS's own text can name the account, the role and the key: it is for nobody's job."""
    secret.fail(ClientError({"Error": {"Code": code, "Message": "arn:aws:kms"}}, "GetSecretValue"))
    with pytest.raises(UpstreamKeyError, match=message) as caught:
        secret.keys().of("stability").read()
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", caught.value.message)
    assert vars(line)["aws_code"] == code
    assert "arn:" not in caught.value.message


def test_a_binary_secret_is_a_precise_error(secret: Secret) -> None:
    secret.aws.secrets.create_secret(Name="binary", SecretBinary=b"sk-1")
    with pytest.raises(UpstreamKeyError, match="binary"):
        secret.keys(arn="binary").of("stability").read()


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "InternalServiceError"}}, "GetSecretValue"),
        EndpointConnectionError(endpoint_url="https://secretsmanager.test"),
    ],
)
def test_a_secret_that_cannot_be_read_is_a_failure_of_storage(
    secret: Secret, error: Exception
) -> None:
    secret.fail(error)
    with pytest.raises(StorageError):
        secret.keys().of("stability").read()


def test_without_a_secret_there_is_no_key(secret: Secret) -> None:
    assert secret.keys(arn="").of("openai").read() == ""
    assert secret.reads == 0


def test_powertools_reader_of_secrets_is_imported_with_the_first_key_only() -> None:
    code = "import sys, sd3.adapters.secrets; print(*sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    loaded = done.stdout.decode().split()
    assert "sd3.adapters.secrets" in loaded
    assert "aws_lambda_powertools.utilities.parameters" not in loaded


class TestMasterSecrets:
    """The secret of our own signatures: read once beside other work, and no image waits long."""

    def secrets(self, secret: Secret, name: str = "upstream-token") -> MasterSecrets:
        return MasterSecrets(lambda: secret.aws.secrets, name, clock=secret.clock)

    def test_the_first_one_signs_and_the_rest_verify(self, secret: Secret) -> None:
        secret.write("new\nold")
        secrets = self.secrets(secret)
        secrets.prefetch()
        assert secrets.fetched() == secrets.read() == (b"new", b"old")

    def test_it_is_read_once(self, secret: Secret) -> None:
        secrets = self.secrets(secret)
        for _ in range(3):
            secrets.prefetch()
            assert secrets.fetched()
        assert secret.reads == 1

    def test_without_a_name_nothing_is_read(self, secret: Secret) -> None:
        secrets = self.secrets(secret, "")
        secrets.prepare()
        secrets.prefetch()
        assert (secrets.fetched(), secrets.read(), secret.reads) == ((), (), 0)

    def test_a_failed_read_is_none_and_is_repeated_after_a_minute(
        self, secret: Secret, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret.write("later")
        secrets = self.secrets(secret, "no such secret")
        assert secrets.fetched() == ()
        assert "the master secret could not be read" in caplog.text
        secrets._name = "upstream-token"  # somebody puts it right
        secret.clock.now = 59
        assert secrets.fetched() == ()
        secret.clock.now = 61
        assert secrets.fetched() == (b"later",)
        with pytest.raises(StorageError):
            self.secrets(secret, "no such secret").read()

    def test_a_read_that_takes_long_holds_up_no_image(
        self, secret: Secret, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sd3.adapters.secrets._PATIENCE_SECONDS", 0.01)
        is_over = Event()

        def wait(**_: Any) -> None:
            is_over.wait(10)

        secret.aws.secrets.meta.events.register("before-call.secrets-manager.GetSecretValue", wait)
        secrets = self.secrets(secret)
        assert secrets.fetched() == ()
        is_over.set()
        monkeypatch.undo()
        assert secrets.fetched()
