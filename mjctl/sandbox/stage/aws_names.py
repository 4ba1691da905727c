"""The host names of AWS's services that the gateway of the stage serves, e.g. `sqs.eu-west-1.amazonaws.com`."""

from __future__ import annotations

import re

DOMAIN = "amazonaws.com"

# The regional and the global services that ministack emulates and that the programs of an environment call.
REGIONAL = (
    *("acm", "apigateway", "backup", "cognito-idp", "dynamodb", "ec2", "ecs", "elasticache", "elasticloadbalancing"),
    "email",
    *("events", "kms", "lambda", "logs", "rds", "s3", "scheduler", "secretsmanager", "servicediscovery", "sns", "sqs"),
    *("ssm", "streams.dynamodb", "sts", "tagging"),
)
GLOBAL = ("cloudfront", "iam", "route53", "s3", "sts")
# The services that name resources in the path of the URL. A request to a service that this set does not contain has the
# path `/`. Only a request to SQS may also have the path of a queue.
_WITH_PATHS = frozenset(
    {"apigateway", "backup", "cloudfront", "cognito-idp", "email", "lambda", "route53", "s3", "scheduler"}
)
# SDKs sign the calls of global services such as IAM for us-east-1. Every account uses the global services.
_GLOBAL_REGION = "us-east-1"
_QUEUE_PATH = re.compile(r"/\d{12}/[\w.-]+")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_API = re.compile(r"(?P<api>[a-z0-9]+)\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com")


class AwsNames:
    """Lists the host names of AWS that an account can use.

    `refresh` reads ministack's records. All methods except `refresh` use the records of the last `refresh`.
    """

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._services: dict[str, str] = {}

    def refresh(self) -> None:
        """Read the regions and the buckets of the account from ministack's records."""
        services = {f"{service}.{DOMAIN}": service for service in GLOBAL}
        regions = regions_in_use(self._account_id)
        services.update({f"{service}.{region}.{DOMAIN}": service for service in REGIONAL for region in regions})
        for bucket in _buckets(self._account_id):
            services.update({f"{bucket}.s3.{region}.{DOMAIN}": "s3" for region in regions})
            # SDKs use the global name for buckets in us-east-1:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
            services[f"{bucket}.s3.{DOMAIN}"] = "s3"
        self._services = services

    def service(self, host: str) -> str | None:
        """Return the service that answers at a host name, or None if the gateway does not serve the name."""
        return self._services.get(host)

    def all(self) -> list[str]:
        """Return all host names that the gateway serves for AWS's services."""
        return list(self._services)


def accepts_path(service: str, path: str) -> bool:
    """Return whether the URL of a request to an AWS service can have the path `path`."""
    return path == "/" or service in _WITH_PATHS or (service == "sqs" and _QUEUE_PATH.fullmatch(path) is not None)


def region_of(host: str) -> str | None:
    """Return the region in a host name of AWS, or None for a name without a region."""
    label = host.removesuffix(f".{DOMAIN}").rpartition(".")[2]
    return label if host.endswith(f".{DOMAIN}") and _REGION.fullmatch(label) else None


def certificate_names(host: str) -> tuple[str, ...]:
    """Return the names in the certificate of a host name of AWS: the host name with `*` as its first label."""
    return (f"*.{host.partition('.')[2]}",)


def api_of(host: str) -> str | None:
    """Return the API's id in the host name of an API's default endpoint, or None for another host name."""
    match = _API.fullmatch(host)
    return match["api"] if match else None


def regions_in_use(account_id: str) -> list[str]:
    """Return the regions in which the account has resources, and the region of the global services."""
    from ministack.services import acm, apigateway, cognito, dynamodb, ecs, kms, lambda_svc, sns, sqs

    stores = (
        *(acm._certificates, apigateway._apis, cognito._user_pools, dynamodb._tables, ecs._clusters),
        *(kms._keys, lambda_svc._functions, sns._topics, sqs._queues),
    )
    used = {key[1] for store in stores for key in list(store._data) if len(key) == 3 and key[0] == account_id}
    return sorted({*used, _GLOBAL_REGION})


def _buckets(account_id: str) -> list[str]:
    from ministack.services import s3

    return [key[1] for key in list(s3._buckets._data) if key[0] == account_id]
