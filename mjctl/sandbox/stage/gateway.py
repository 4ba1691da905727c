"""The gateway of the stage: an address at which AWS's services, the API's domains and CloudFront answer by TLS.

mjctl and Terraform do not use the gateway. mjctl and Terraform use ministack's port on 127.0.0.1, without TLS and with
the operator's key, which mjctl/local/guard.py checks. The gateway checks each request as follows:

- The client must be a process of the user who runs the stage. Processes of root are refused too, unless root runs the
  stage. If root runs the stage, PostgreSQL runs as another user. PostgreSQL calls no service of AWS.
- The header `Host` must be a host name that the gateway serves.
- A request to a host name of AWS must be signed. ministack verifies the signature and evaluates the IAM policies.
- A request to a public domain needs no signature, because the domain is public on AWS too.

The condition key `aws:SecureTransport` is true for requests by TLS, and false for requests to port 80 of the gateway.
The condition key is also true for requests to ministack's port. If the condition key were false there, a policy that
denies requests without TLS would refuse Terraform's requests to buckets and queues. Requests to ministack's port need
the operator's key and never leave this machine. The gateway replaces the client's header `X-Forwarded-Proto`, because
ministack reads the condition key from the header.
"""

from __future__ import annotations

import contextvars
import os
import re
import ssl
from collections.abc import Callable
from typing import Any

from mjctl.local.emulator import Application, Receive, Scope, Send
from mjctl.local.guard import joined_headers, refuse, service_refusal
from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import aws_names, public_domains
from mjctl.sandbox.stage.aws_names import AwsNames
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.domains import Domains, PublicDomain, entrance_names
from mjctl.sandbox.stage.peers import is_own_user
from mjctl.sandbox.stage.web_acls import KeptFirewalls, WebAcls

Handler = Callable[..., Any]

_HTTP, _HTTPS = 80, 443
_KEY_SET = re.compile(r"/(?P<region>[a-z0-9-]+)_[A-Za-z0-9]+/\.well-known/(jwks\.json|openid-configuration)")
_COGNITO_TARGET = "AWSCognitoIdentityProviderService."
_FORWARDED_PROTO = b"x-forwarded-proto"
# The key in an ASGI scope by which `wrap` passes the public domain of a request to `route`.
_DOMAIN = "mjctl.domain"

_pinning = contextvars.ContextVar("mjctl_pinning", default=False)


class Gateway:
    """Serves host names by TLS, and corrects the functions of ministack that depend on the address of a request.

    Attributes:
        secure: The address and the port with TLS at which hypercorn, the HTTP server, listens.
        insecure: The address and the port without TLS, at which CloudFront redirects browsers to TLS.
    """

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._address = context.addresses.of("gateway")
        self.secure, self.insecure = [f"{self._address}:{_HTTPS}"], [f"{self._address}:{_HTTP}"]
        self._aws = AwsNames(context.account_id)
        self._domains = Domains(context.account_id)
        self._tls: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._firewalls = KeptFirewalls(WebAcls(context.moto, context.access_key_id).of_arn) if context.moto else None
        context.names.append(self._published)

    def install(self) -> None:
        """Correct how ministack checks the operator's signatures and finds the region of a request."""
        from ministack import app
        from ministack.core import iam_evaluator
        from ministack.services import apigateway_v1, cloudfront, sqs

        wrap(iam_evaluator, "is_root_access_key", self._one_root_key)
        wrap(iam_evaluator, "_is_root_key", self._root_is_verified)
        wrap(app, "pin_signed_request", self._pin_root)
        wrap(app, "extract_region", self._region_of_host)
        wrap(apigateway_v1, "find_domain_scope", self._scope_of_domain)
        wrap(cloudfront, "_is_aws_owned_host", self._origin_is_elsewhere)
        wrap(cloudfront, "_registered_alb", lambda _original: lambda _origin: None)
        wrap(cloudfront, "_origin_ssl_context", self._trusting_context)
        wrap(sqs, "_externalize_result", lambda _original: _with_queue_urls)

    def look(self) -> None:
        """Read the host names that exist, and issue the certificates for the names of AWS before the first request."""
        self._refresh()
        for name in {aws_names.certificate_names(name) for name in self._aws.all()}:
            self._tls_of(name)

    def close(self) -> None:
        """Do nothing, because hypercorn closes the listening sockets."""

    def tls_context(self) -> ssl.SSLContext:
        """Return TLS settings that choose the certificate by the host name in the client's TLS handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = self._choose
        return context

    def wrap(self, guarded: Application, application: Application) -> Application:
        """Return an application that checks requests to the gateway, and passes all other requests to `guarded`."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await guarded(scope, receive, send)
            elif scope["server"][0] != self._address:
                await guarded(_with_transport(scope, "https"), receive, send)
            elif scope["type"] == "websocket":
                # Refuse WebSockets, because no API and no origin of CloudFront in the stacks has WebSockets.
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._check(_with_transport(scope, scope["scheme"]), receive, send, application)

        return serve

    def route(self, application: Application) -> Application:
        """Return an application that answers requests to public domains, and passes on all other requests."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if _DOMAIN in scope:
                await public_domains.answer(scope[_DOMAIN], self._firewalls, scope, receive, send)
            else:
                await application(scope, receive, send)

        return serve

    async def _check(self, scope: Scope, receive: Receive, send: Send, application: Application) -> None:
        headers = joined_headers(scope)
        host = re.sub(r":\d+$", "", headers.get("host", "")).lower()
        if not is_own_user(tuple(scope["client"][:2]), tuple(scope["server"][:2])):
            await refuse(send, scope, "it comes from another user of this machine")
            return
        domain = self._domain(host)
        if domain is not None:
            await application({**scope, _DOMAIN: domain}, receive, send)
            return
        service = self._service(host)
        reason: str | None = "its Host is not a name of the stage"
        if service is not None:
            query = scope.get("query_string", b"").decode("latin-1")
            unsigned = _is_public(service, host, scope["method"], scope["path"], headers)
            reason = service_refusal(scope["path"], query, headers, unsigned=unsigned)
            if reason is None and not unsigned and not aws_names.accepts_path(service, scope["path"]):
                reason = "the service has no such path"
        if reason is not None:
            await refuse(send, scope, reason)
        else:
            await application(scope, receive, send)

    # Names and certificates

    def _refresh(self) -> None:
        self._aws.refresh()
        self._domains.refresh()

    def _service(self, host: str) -> str | None:
        service = self._aws.service(host)
        if service is None and host.endswith(aws_names.DOMAIN):
            # A program may have created the resource after the last `look`, e.g. the first queue of a region.
            self._aws.refresh()
            service = self._aws.service(host)
        return service

    def _domain(self, host: str) -> PublicDomain | None:
        domain = self._domains.find(host)
        if domain is None and self._service(host) is None:
            self._domains.refresh()
            domain = self._domains.find(host)
        return domain or self._default_endpoint(host)

    def _default_endpoint(self, host: str) -> PublicDomain | None:
        """Return the public domain of an API's default endpoint, or None if the API has no default endpoint."""
        from ministack.services import apigateway

        api, region = aws_names.api_of(host), aws_names.region_of(host)
        record = apigateway._apis._data.get((self._context.account_id, region, api)) if api else None
        if record is None or region is None or record.get("disableExecuteApiEndpoint"):
            return None
        return PublicDomain(host, "api", aws_names.certificate_names(host), region)

    def _published(self) -> dict[str, str]:
        entrances = dict.fromkeys((*self._aws.all(), *entrance_names(self._context.account_id)), self._address)
        return {**self._domains.resolved(entrances.get), **entrances}

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        """Choose the certificate for a connection, or refuse the connection if the gateway does not serve the name."""
        host = (name or "").lower()
        domain = self._domain(host)
        if domain is None and self._service(host) is None and host not in entrance_names(self._context.account_id):
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        connection.context = self._tls_of(domain.certificate if domain else aws_names.certificate_names(host))
        return None

    def _tls_of(self, names: tuple[str, ...]) -> ssl.SSLContext:
        if names not in self._tls:
            files = self._context.authority.issue(names)
            context = self.tls_context()
            context.load_cert_chain(files.certificate, files.key)
            self._tls[names] = context
        return self._tls[names]

    # Corrections of ministack

    @staticmethod
    def _one_root_key(_original: Handler) -> Handler:
        """Accept only the operator's key as the root user's. ministack also accepts `test` and account ids."""
        return lambda access_key_id: not access_key_id or access_key_id == os.environ["AWS_ACCESS_KEY_ID"]

    @staticmethod
    def _root_is_verified(original: Handler) -> Handler:
        return lambda access_key_id: not _pinning.get() and original(access_key_id)

    @staticmethod
    def _pin_root(original: Handler) -> Handler:
        """Store each request for the check of its signature. ministack does not store requests of the root user."""

        def pin(*arguments: Any, **options: Any) -> None:
            token = _pinning.set(True)
            try:
                original(*arguments, **options)
            finally:
                _pinning.reset(token)

        return pin

    @staticmethod
    def _region_of_host(original: Handler) -> Handler:
        """Take the region of an unsigned request from its host name, as AWS does, e.g. for a log-in to Cognito."""
        from ministack.core.router import extract_signed_region

        def region(headers: dict[str, str], query: Any = None) -> str:
            named = aws_names.region_of(re.sub(r":\d+$", "", headers.get("host", "")).lower())
            return str(extract_signed_region(headers, query) or named or original(headers, query))

        return region

    def _scope_of_domain(self, original: Handler) -> Handler:
        """Find an API's domain in the region that Route 53 names. ministack would use the oldest such domain."""

        def find(name: str) -> Any:
            oldest, domain = original(name), self._domains.find(name.lower())
            if oldest is None or domain is None or domain.kind != "api":
                return oldest
            account, _, stored_name = oldest
            return account, domain.region, stored_name

        return find

    def _origin_is_elsewhere(self, original: Handler) -> Handler:
        """Let CloudFront connect to an origin with a host name of AWS if the stage serves the host name."""

        def is_elsewhere(host: str) -> bool:
            if not original(host):
                return False
            return not any(host in source() for source in self._context.names)

        return is_elsewhere

    def _trusting_context(self, original: Handler) -> Handler:
        def context() -> ssl.SSLContext:
            trusting: ssl.SSLContext = original()
            trusting.load_verify_locations(self._context.authority.certificate_file)
            return trusting

        return context


def _with_transport(scope: Scope, scheme: str) -> Scope:
    """Return a copy of an ASGI scope that makes `aws:SecureTransport` true for `https` and false for `http`."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != _FORWARDED_PROTO]
    return {**scope, "headers": [*headers, (_FORWARDED_PROTO, scheme.encode())]}


def _is_public(service: str, host: str, method: str, path: str, headers: dict[str, str]) -> bool:
    """Return whether AWS answers a request that has no signature.

    https://docs.aws.amazon.com/cognito/latest/developerguide/authentication-flows-public-server-side.html
    """
    from ministack.core.iam_actions import unsigned_operations

    if service != "cognito-idp":
        return False
    key_set = _KEY_SET.fullmatch(path)
    if method == "GET" and key_set is not None:
        return key_set["region"] == aws_names.region_of(host)
    target = headers.get("x-amz-target", "")
    return method == "POST" and path == "/" and target.removeprefix(_COGNITO_TARGET) in unsigned_operations(service)


def _queue_url(url: Any) -> Any:
    """Return AWS's URL of a queue, which every program of the stage can use. ministack's URL names ministack's port."""
    from ministack.core.responses import get_region

    account_and_name = "/".join(str(url).rsplit("/", 2)[1:])
    return f"https://sqs.{get_region()}.{aws_names.DOMAIN}/{account_and_name}" if isinstance(url, str) else url


def _with_queue_urls(result: Any) -> Any:
    if not isinstance(result, dict):
        return result
    urls = {"QueueUrl": _queue_url(result["QueueUrl"])} if "QueueUrl" in result else {}
    if "QueueUrls" in result:
        urls["QueueUrls"] = [_queue_url(url) for url in result["QueueUrls"]]
    return {**result, **urls}
