"""Turns an unexpected exception in the work on one unit into an error of that unit."""

from __future__ import annotations

import time
import traceback

from mjctl.files import append_private
from mjctl.models.errors import InternalError, MjctlError
from mjctl.terraform.stack import Stack


def as_error(cause: Exception, stack: Stack) -> MjctlError:
    """Return the error to report for the unit of `stack`.

    Every exception that is not a MjctlError is a bug of mjctl. A bug in the work on one unit must not end the work on
    other units. An uncaught exception would end the event loop, and Terraform would be interrupted in all other units.
    The traceback of the exception is written to the unit's private log.
    """
    if isinstance(cause, MjctlError):
        return cause
    text = "".join(traceback.format_exception(cause))
    try:
        with append_private(stack.log_file) as log:
            log.write(f"\n--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} mjctl itself has failed\n{text}")
        details = f"with the traceback at the end of {stack.log_file}"
    except OSError:
        details = f"with the name of the function that failed: {traceback.extract_tb(cause.__traceback__)[-1].name}"
    return InternalError(
        f"mjctl itself has failed: {type(cause).__name__}",
        where=stack.where,
        hint=f"report this bug {details}; `mjctl plan --env {stack.environment} --all-regions` shows the changes that "
        "were not applied",
    )
