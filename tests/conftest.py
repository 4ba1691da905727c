"""Ctrl-C as a person's shell leaves it: what is started in the background ignores it, and whatever that starts."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
