"""Makes ministack's HTTP APIs of API Gateway as strict as AWS's: throttling, issuers of tokens and time limits."""

from __future__ import annotations

import asyncio
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage.context import StageContext

Handler = Callable[..., Any]
Answer = tuple[int, dict[str, Any], bytes]


class TokenBucket:
    """Limits requests by a rate and a burst, as the token buckets of API Gateway do.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Create a full bucket.

        Args:
            rate: The requests per second.
            burst: The number of tokens in a full bucket. A full bucket admits `burst` requests at the same time.
            clock: Returns the time in seconds.
        """
        self.limits = (rate, burst)
        self._clock = clock
        self._tokens, self._last = burst, clock()

    def take(self) -> bool:
        """Take a token for a request. Returns: False if the bucket is empty."""
        rate, burst = self.limits
        now = self._clock()
        self._tokens, self._last = min(burst, self._tokens + (now - self._last) * rate), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ApiGateway:
    """Corrects the HTTP APIs that ministack emulates, as a part of the stage."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._buckets: dict[tuple[str, str, str], TokenBucket] = {}

    def install(self) -> None:
        """Replace ministack's functions for HTTP APIs by corrected functions."""
        from ministack.services import apigateway

        wrap(apigateway, "_handle_execute_in_scope", self._throttled)
        wrap(apigateway, "_invoke_lambda_proxy", self._limited)
        wrap(apigateway, "run_reentrant", self._with_source)
        wrap(apigateway, "_resolve_jwks_url", lambda _original: _key_set_of_issuer)
        wrap(apigateway, "_urlopen_sync", self._trusting_urlopen)

    def look(self) -> None:
        """Do nothing, because API Gateway has no processes."""

    def close(self) -> None:
        """Do nothing, because API Gateway has no processes."""

    def _throttled(self, original: Handler) -> Handler:
        from ministack.services import apigateway

        async def handle(api: str, stage: str, path: str, method: str, *rest: Any) -> Answer:
            route = None if method == "OPTIONS" else apigateway._match_route(api, method, "/" + path.lstrip("/"))
            settings = apigateway._stages.get(api, {}).get(stage)
            if route is not None and settings is not None and not self._admits(api, stage, route["routeKey"], settings):
                return 429, {"Content-Type": "application/json"}, b'{"message":"Too Many Requests"}'
            answer: Answer = await original(api, stage, path, method, *rest)
            return answer

        return handle

    def _admits(self, api: str, stage: str, route: str, settings: Mapping[str, Any]) -> bool:
        """Count a request against the limits of its route. Returns: False if the request exceeds a limit."""
        limits = {
            **(settings.get("defaultRouteSettings") or {}),
            **(settings.get("routeSettings") or {}).get(route, {}),
        }
        rate, burst = limits.get("throttlingRateLimit"), limits.get("throttlingBurstLimit")
        if rate is None or burst is None:
            return True
        bucket = self._buckets.get((api, stage, route))
        if bucket is None or bucket.limits != (float(rate), float(burst)):
            bucket = self._buckets[api, stage, route] = TokenBucket(float(rate), float(burst))
        return bucket.take()

    @staticmethod
    def _limited(original: Handler) -> Handler:
        """Answer with the status 503 after the time limit of an integration, which is at most 30 seconds.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
        """

        async def invoke(integration: Mapping[str, Any], *arguments: Any, **options: Any) -> Answer:
            seconds = float(integration.get("timeoutInMillis") or 30_000) / 1000
            try:
                answer: Answer = await asyncio.wait_for(original(integration, *arguments, **options), seconds)
            except TimeoutError:
                return 503, {"Content-Type": "application/json"}, b'{"message":"Service Unavailable"}'
            return answer

        return invoke

    @staticmethod
    def _with_source(original: Handler) -> Handler:
        """Put the address of the client and the domain of the request into the event that a Lambda function gets."""
        from ministack.core.responses import get_request_client_ip

        async def run(function: Handler, *arguments: Any, **options: Any) -> Any:
            for event in arguments:
                context = event.get("requestContext") if isinstance(event, dict) else None
                if context and event.get("version") == "2.0" and "http" in context:
                    context["http"]["sourceIp"] = get_request_client_ip()
                    host = str(event.get("headers", {}).get("host") or context["domainName"])
                    context["domainName"], context["domainPrefix"] = host, host.partition(".")[0]
            return await original(function, *arguments, **options)

        return run

    def _trusting_urlopen(self, _original: Handler) -> Handler:
        """Fetch the keys of token issuers without the shell's HTTP proxy, and trust the stage's authority."""
        tls = ssl.create_default_context(cafile=str(self._context.authority.bundle))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
        opener = urllib.request.build_opener(*handlers)

        def fetch(request: Any, seconds: float) -> tuple[int, dict[str, str], bytes]:
            with opener.open(request, timeout=seconds) as response:
                return response.status, dict(response.headers.items()), response.read()

        return fetch


async def _key_set_of_issuer(authorizer: Mapping[str, Any]) -> str | None:
    """Return the URL of the issuer's keys. ministack would ignore the issuer's region and use its own keys.

    https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html
    """
    issuer = (authorizer.get("jwtConfiguration") or {}).get("issuer")
    return f"{str(issuer).rstrip('/')}/.well-known/jwks.json" if issuer else None
