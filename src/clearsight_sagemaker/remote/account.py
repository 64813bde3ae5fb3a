"""AwsAccount: clients of the user's own account, with its role and bucket; errors of AWS as one sentence."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue, ClearsightError, NotFound, missing_extra
from clearsight_sagemaker.remote.options import FLAG, SageMakerOptions

PLACE = "--on sagemaker"


@contextmanager
def aws_errors(subject: str = PLACE) -> Iterator[None]:
    """Turn an error of boto3 within the block into a ClearsightError about `subject`."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
        NoRegionError,
    )

    try:
        yield
    except NoCredentialsError:
        fix = "Log in with the AWS CLI, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        raise ClearsightError(subject, "there are no AWS credentials", fix=fix) from None
    except NoRegionError:
        raise ClearsightError(subject, "there is no AWS region", fix=f"Pass {FLAG} region=us-east-1.") from None
    except EndpointConnectionError as error:
        raise ClearsightError(subject, _sentence(str(error)), fix="Check the network and AWS_ENDPOINT_URL.") from None
    except ClientError as error:
        found = error.response.get("Error", {})
        problem = f"{error.operation_name} was refused with {found.get('Code')}: {found.get('Message')}"
        raise ClearsightError(subject, _sentence(problem)) from None
    except (BotoCoreError, Boto3Error) as error:
        raise ClearsightError(subject, _sentence(str(error))) from None


def is_missing(error: Any) -> bool:
    """Return True for the ClientError that SageMaker gives for a name that it does not know."""
    return error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound")


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


class AwsAccount:
    """Clients of one region. Nothing is asked before it is needed."""

    def __init__(self, options: SageMakerOptions, subject: str = PLACE) -> None:
        try:
            import boto3
        except ImportError:
            raise missing_extra("boto3", "sagemaker", subject) from None
        self._options, self._subject = options, subject
        with aws_errors(subject):
            self._session = boto3.session.Session(region_name=options.region or None)
            self.sagemaker = self.client("sagemaker")
            self.region: str = self.sagemaker.meta.region_name

    def client(self, service: str) -> Any:
        """Return a client of a service, such as "s3"."""
        return self._session.client(service)

    def role_arn(self) -> str:
        """Return the role of jobs: the given one, else that of the caller; raises BadValue where that has none."""
        name = self._options.role
        if name.startswith("arn:"):
            return name
        with aws_errors(self._subject):
            if not name:
                identity = str(self.client("sts").get_caller_identity()["Arn"])
                kind, _, rest = identity.split(":", 5)[5].partition("/")
                if kind != "assumed-role":
                    problem = f"a job needs a role, and {identity} is none"
                    raise BadValue(self._subject, problem, fix=f"Pass {FLAG} role=NAME of a role for SageMaker.")
                name = rest.partition("/")[0]
            return str(self.client("iam").get_role(RoleName=name)["Role"]["Arn"])

    def bucket(self) -> str:
        """Return the bucket of submissions. Without one in the options it is the SDK's, which is created if missing.

        Raises NotFound for a bucket of the options that is not there.
        """
        s3, name = self.client("s3"), self._options.bucket
        with aws_errors(self._subject):
            if name:
                if not _exists(s3, name):
                    raise NotFound(f"{FLAG} bucket={name}", "there is no such bucket that this account may use")
                return name
            account = self.client("sts").get_caller_identity()["Account"]
            name = f"sagemaker-{self.region}-{account}"
            if not _exists(s3, name):
                # In this one region AWS takes no location, and in all others it needs one.
                place = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
                s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
            return name

    def upload(self, source: Path | bytes, bucket: str, key: str) -> str:
        """Put a file or bytes where no object of this key is; return its URI. Keys are those of their content."""
        from botocore.exceptions import ClientError

        s3 = self.client("s3")
        with aws_errors(self._subject):
            try:
                s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
                    raise
                stream = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
                with stream:
                    s3.upload_fileobj(stream, bucket, key)
        return f"s3://{bucket}/{key}"

    def download(self, uri: str, path: Path) -> bool:
        """Write an object into a file; return False where there is no such object."""
        from botocore.exceptions import ClientError

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        with aws_errors(self._subject):
            try:
                self.client("s3").download_file(bucket, key, str(path))
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                    return False
                raise
        return True


def _exists(s3: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return False
        raise
    return True
