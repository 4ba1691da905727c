"""Unexpected exceptions in the work on one region."""

from __future__ import annotations

import time
import traceback

from mjctl.files import append_private
from mjctl.models.errors import InternalError, MjctlError
from mjctl.terraform.stack import Stack


def as_error(cause: Exception, stack: Stack) -> MjctlError:
    """Return the error to report for a region.

    Any other exception than MjctlError is a fault of mjctl. It must end the work on its own region only: raised
    further, it would end the event loop, which interrupts the Terraform of the other regions. Its traceback goes to
    the region's private log.
    """
    if isinstance(cause, MjctlError):
        return cause
    text = "".join(traceback.format_exception(cause))
    try:
        with append_private(stack.log_file) as log:
            log.write(f"\n--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} mjctl itself has failed\n{text}")
        details = f"with the traceback at the end of {stack.log_file}"
    except OSError:
        details = f"with this place: {traceback.extract_tb(cause.__traceback__)[-1].name}"
    return InternalError(
        f"mjctl itself has failed: {type(cause).__name__}",
        where=stack.where,
        hint=f"please report it {details}; `mjctl plan --env {stack.environment} --all-regions` shows what is "
        "left to do",
    )
