"""Decides whether a load balancer refuses, answers or forwards a client's request."""

from __future__ import annotations

from mjctl.sandbox.stage import listener_rules
from mjctl.sandbox.stage.balancing import Balancing
from mjctl.sandbox.stage.forwarding import OwnAnswer
from mjctl.sandbox.stage.http1 import RequestHead
from mjctl.sandbox.stage.routes import ListenerRoute, PoolMember, TargetPool
from mjctl.sandbox.stage.web_request import WebRequest

Decision = OwnAnswer | tuple[TargetPool, PoolMember]


def decide(route: ListenerRoute, balancing: Balancing, head: RequestHead, body: bytes, address: str) -> Decision:
    """Decide on a request by the firewall and by the rules of the listener.

    Args:
        route: The listener that received the request.
        balancing: The targets and the firewalls of the proxy.
        head: The request.
        body: The part of the body that the firewall inspects.
        address: The IP address of the client.

    Returns:
        The answer that the load balancer gives without a target, or the target that gets the request.
    """
    routed = listener_rules.routed(head, route, address)
    if route.firewall is not None:
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in head.headers]
        inspected = WebRequest(address, routed.method, routed.path, routed.query, headers, body)
        verdict = balancing.decide(route.firewall, inspected)
        if verdict is not None and not verdict.allowed:
            return OwnAnswer(verdict.status, verdict.headers, verdict.content_type, verdict.body)
    action = listener_rules.action(route.rules, routed)
    if action is None:
        return OwnAnswer(500)
    counts = balancing.balancers[route.balancer]
    if action["Type"] == "redirect":
        counts["HTTP_Redirect_Count"] += 1
        redirect = action["RedirectConfig"]
        status = int(str(redirect["StatusCode"]).removeprefix("HTTP_"))
        return OwnAnswer(status, [("Location", listener_rules.location(redirect, routed))])
    if action["Type"] == "fixed-response":
        counts["HTTP_Fixed_Response_Count"] += 1
        fixed = action["FixedResponseConfig"]
        content_type, text = fixed.get("ContentType") or "text/plain", fixed.get("MessageBody") or ""
        return OwnAnswer(int(fixed["StatusCode"]), content_type=content_type, body=text)
    return balancing.choose(listener_rules.forward_groups([action])) or OwnAnswer(503)
