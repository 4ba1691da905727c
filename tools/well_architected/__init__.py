"""Defines the rules that production must obey, and checks them on the plans of a whole environment.

A rule reads plans that were made from an empty state, and reports every resource that breaks the rule. A resource
passes a rule only if the plan shows that a value is right, or that a reference leads to the right resource. A value
that is UNKNOWN never passes a rule. A rule that finds no resource to check fails too.

Docstrings name the source of a rule in brackets: the pillars reliability (REL) and security (SEC) of AWS
Well-Architected, and its Games Industry Lens (GAMEREL).
"""

from __future__ import annotations

from tools.well_architected import entries, events, rights, servers, stores
from tools.well_architected.rules import RULES, check

__all__ = ["RULES", "check", "entries", "events", "rights", "servers", "stores"]
