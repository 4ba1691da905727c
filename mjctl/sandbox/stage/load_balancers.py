"""Runs a proxy process for the load balancers in the records of ministack, an emulator of AWS.

The players' connections lead through the proxy. ministack itself answers requests to load balancers on ministack's own
port. Without the proxy, WebSockets, TLS, health of targets and idle timeouts would be missing.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mjctl.files import append_private
from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import balancer_records, network_records
from mjctl.sandbox.stage.authority import CertificateFiles
from mjctl.sandbox.stage.balancer_records import Record
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.domains import Domains
from mjctl.sandbox.stage.reachability import INTERNET, SecurityGroups
from mjctl.sandbox.stage.routes import ListenerRoute, ProxyReport, Routes, TargetPool
from mjctl.sandbox.stage.web_acls import WebAcls

# AWS applies a change of a web ACL within seconds:
# https://docs.aws.amazon.com/waf/latest/APIReference/API_UpdateWebACL.html
_FIREWALL_SECONDS = 2.0
_STOP_SECONDS = 5.0
_SEND_SECONDS = 5
_SECURE = "HTTPS"
# The proxy inherits only these environment variables, because ministack's process also has the account's access key in
# its environment.
_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "TZ", "VIRTUAL_ENV")

logger = logging.getLogger("mjctl.sandbox.stage.load_balancers")


class LoadBalancers:
    """Keeps the proxy running, and sends it the routes."""

    def __init__(self, context: StageContext) -> None:
        """Create this part of the stage.

        Args:
            context: The objects that all parts of the stage share.
        """
        self._context = context
        self._acls = WebAcls(context.moto, context.access_key_id) if context.moto else None
        self._domains = Domains(context.account_id)
        self._protected: dict[str, str] = {}
        self._documents: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._sent = ""
        self._failed: dict[str, str] = {}

    def install(self) -> None:
        """Replace ministack's operations on load balancers, and publish the DNS names of the load balancers."""
        from ministack.services import alb

        wrap(alb, "_delete_lb", self._delete_balancer)
        wrap(alb, "_delete_tg", self._delete_group)
        wrap(alb, "_tg_xml", self._describe_group)
        for name in ("_create_listener", "_modify_listener"):
            wrap(alb, name, self._with_certificate)
        self._context.names.append(self._names)

    def look(self) -> None:
        """Start the proxy if the proxy does not run. Send the routes to the proxy if the routes have changed."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        self._read_firewalls()
        line = self._routes().to_line()
        if line != self._sent and self._control is not None:
            try:
                self._control.sendall(line.encode() + b"\n")
            except OSError as error:
                # A half-sent line would make all later lines unreadable, so kill the proxy. The next `look` starts it.
                logger.warning("the proxy of the load balancers does not read its routes: %s", error)
                process.kill()
            else:
                self._sent = line

    def close(self) -> None:
        """End the proxy, which closes all connections of the load balancers."""
        self._disconnect()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
                return
            self._process.kill()
            self._process.wait()

    # The proxy

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            logger.error("the proxy of the load balancers ended with %s and starts again", self._process.returncode)
        self._disconnect()
        own, inherited = socket.socketpair()
        # A proxy that hangs must not stop the other parts of the stage. SO_SNDTIMEO limits the time of `sendall`.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", _SEND_SECONDS, 0))
        command = [sys.executable, "-m", "mjctl.sandbox.stage.proxy", str(inherited.fileno())]
        with inherited, append_private(self._context.folder / "proxy.log") as log:
            self._process = subprocess.Popen(
                command,
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[inherited.fileno()],
                start_new_session=True,
            )
        self._control, self._sent = own, ""
        threading.Thread(target=self._read_reports, args=(own,), daemon=True, name="stage-proxy").start()
        return self._process

    def _disconnect(self) -> None:
        """Close the socket, so that the proxy and the thread that reads the proxy's reports end."""
        if self._control is not None:
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            self._control.close()
            self._control = None

    def _read_reports(self, control: socket.socket) -> None:
        with suppress(OSError), control.makefile("rb") as stream:
            for line in stream:
                report = ProxyReport.from_line(line)
                self._context.traffic.set(report)
                for place, reason in report.failed.items():
                    if self._failed.get(place) != reason:
                        logger.warning("load balancer %s: %s", place, reason)
                self._failed = dict(report.failed)

    # Routes

    def _names(self) -> dict[str, str]:
        """Return the IP address of each DNS name of a load balancer, including Route 53's names for load balancers."""
        balancers = [record for _, _, record in balancer_records.load_balancers() if _is_application(record)]
        own = {record["DNSName"].lower(): self._context.addresses.of(record["DNSName"]) for record in balancers}
        self._domains.refresh()
        return {**self._domains.resolved(own.get), **own}

    def _routes(self) -> Routes:
        from ministack.core.responses import request_scope

        routes: list[ListenerRoute] = []
        pools: dict[str, TargetPool] = {}
        for account, region, balancer in balancer_records.load_balancers():
            if not _is_application(balancer):
                continue
            with request_scope(account, region):
                groups = network_records.security_groups()
                for listener in balancer_records.listeners(balancer["LoadBalancerArn"]):
                    routes.append(self._listener(balancer, listener, groups))
        for account, region, group in balancer_records.target_groups():
            with request_scope(account, region):
                if balancers := balancer_records.users(group["TargetGroupArn"]):
                    pools[group["TargetGroupArn"]] = self._pool(group, balancers)
        return Routes(sorted(routes, key=lambda route: (route.address, route.port)), pools, self._documents)

    def _listener(self, balancer: Record, listener: Record, groups: SecurityGroups) -> ListenerRoute:
        arn, port = balancer["LoadBalancerArn"], int(listener["Port"])
        certificate = self._certificate(listener)

        def attribute(key: str, default: str) -> str:
            return balancer_records.balancer_attribute(arn, key, default)

        return ListenerRoute(
            address=self._context.addresses.of(balancer["DNSName"]),
            port=port,
            balancer=arn.split(":loadbalancer/", 1)[1],
            secure=listener["Protocol"] == _SECURE,
            certificate=str(certificate.certificate) if certificate else None,
            key=str(certificate.key) if certificate else None,
            only_tls_1_3="TLS13-1-3" in listener.get("SslPolicy", ""),
            obstacle=groups.obstacle(INTERNET, network_records.load_balancer(balancer), port),
            rules=balancer_records.rules(listener["ListenerArn"]),
            firewall=self._protected.get(arn),
            idle_seconds=float(attribute("idle_timeout.timeout_seconds", "60")),
            keep_alive_seconds=float(attribute("client_keep_alive.seconds", "3600")),
            drop_invalid_headers=attribute("routing.http.drop_invalid_header_fields.enabled", "false") == "true",
            forwarded_for=attribute("routing.http.xff_header_processing.mode", "append"),
            forwarded_port=attribute("routing.http.xff_client_port.enabled", "false") == "true",
            preserve_host=attribute("routing.http.preserve_host_header.enabled", "false") == "true",
            server_header=balancer_records.listener_attribute(
                listener["ListenerArn"], "routing.http.response.server.enabled", "true"
            )
            == "true",
        )

    def _certificate(self, listener: Record) -> CertificateFiles | None:
        """Return the files of a listener's certificate, or None if the certificate is not issued."""
        from ministack.services import acm

        for arn in listener.get("Certificates") or []:
            record = acm._certificates.get(arn)
            if record is not None and record["Status"] == "ISSUED":
                names = [record["DomainName"], *(record.get("SubjectAlternativeNames") or [])]
                return self._context.authority.issue(list(dict.fromkeys(names)))
        return None

    def _pool(self, group: Record, balancers: list[Record]) -> TargetPool:
        arn = group["TargetGroupArn"]
        usable = [(key.address, key.port) for key in self._context.targets.usable(arn)]
        kept = sorted((key.address, key.port) for key in self._context.targets.of_group(arn))
        groups = network_records.security_groups()
        unreachable = {}
        for address, port in usable:
            target = network_records.at_address(address)
            for balancer in balancers:
                if obstacle := groups.obstacle(network_records.load_balancer(balancer), target, port):
                    unreachable[f"{address}:{port}"] = obstacle
        algorithm = balancer_records.group_attribute(arn, "load_balancing.algorithm.type", "round_robin")
        return TargetPool(arn, group["Protocol"], algorithm, usable, kept, unreachable)

    def _read_firewalls(self) -> None:
        """Read the web ACLs of the load balancers every two seconds from moto, the second emulator of AWS."""
        if self._acls is None or time.monotonic() - self._read_at < _FIREWALL_SECONDS:
            return
        self._read_at = time.monotonic()
        protected: dict[str, str] = {}
        documents: dict[str, Any] = {}
        for _, _, balancer in balancer_records.load_balancers():
            arn = balancer["LoadBalancerArn"]
            try:
                acl = self._acls.of_resource(arn)
            except OSError as error:
                logger.warning("the web ACL of %s is unknown: %s", balancer["LoadBalancerName"], error)
                return
            if acl is not None:
                protected[arn] = acl["WebACL"]["ARN"]
                documents[protected[arn]] = acl
        self._protected, self._documents = protected, documents

    # Operations that AWS refuses

    @staticmethod
    def _delete_balancer(original: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse to delete a load balancer with deletion protection. Delete other load balancers with their listeners.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeleteLoadBalancer.html
        """

        def handle(parameters: dict[str, Any]) -> Any:
            from ministack.services import alb

            arn = alb._p(parameters, "LoadBalancerArn")
            if balancer_records.balancer_attribute(arn, "deletion_protection.enabled", "false") == "true":
                text = f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
                return alb._error("OperationNotPermitted", text)
            for listener in balancer_records.listeners(arn):
                alb._delete_listener({"ListenerArn": [listener["ListenerArn"]]})
            return original(parameters)

        return handle

    @staticmethod
    def _delete_group(original: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse to delete a target group that a listener or a rule uses.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeleteTargetGroup.html
        """

        def handle(parameters: dict[str, Any]) -> Any:
            from ministack.services import alb

            arn = alb._p(parameters, "TargetGroupArn")
            if balancer_records.users(arn):
                text = f"Target group '{arn}' is currently in use by a listener or a rule"
                return alb._error("ResourceInUse", text)
            return original(parameters)

        return handle

    @staticmethod
    def _describe_group(original: Callable[..., Any]) -> Callable[..., Any]:
        """Describe a target group with the load balancers whose rules currently use the target group."""

        def describe(group: dict[str, Any]) -> Any:
            balancers = [record["LoadBalancerArn"] for record in balancer_records.users(group["TargetGroupArn"])]
            return original({**group, "LoadBalancerArns": balancers})

        return describe

    @staticmethod
    def _with_certificate(original: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse a listener for HTTPS whose certificate does not exist or is not issued.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html
        """

        def handle(parameters: dict[str, Any]) -> Any:
            from ministack.services import acm, alb

            certificates = alb._parse_certificate_arns(parameters)
            known = (alb._listeners.get(alb._p(parameters, "ListenerArn")) or {}).get("Certificates")
            if alb._p(parameters, "Protocol") == _SECURE and not certificates and not known:
                return alb._error("ValidationError", "A certificate must be specified for HTTPS listeners")
            for arn in certificates:
                record = acm._certificates.get(arn)
                if record is None:
                    return alb._error("CertificateNotFound", f"Certificate '{arn}' not found")
                if record["Status"] != "ISSUED":
                    text = (
                        f"The certificate '{arn}' must have a fully-qualified domain name, a supported signature, "
                        "and a supported key size."
                    )
                    return alb._error("UnsupportedCertificate", text)
            return original(parameters)

        return handle


def _is_application(balancer: Record) -> bool:
    return str(balancer.get("Type", "application")) == "application"
