"""The regions' entries in the JSON documents of `mjctl backup`, built from the results of `mjctl.backup`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mjctl.cli.output.documents.observe import check_entry
from mjctl.models.backup import (
    BackupEntry,
    Comparison,
    DrillReport,
    Manifest,
    Part,
    PrunePlan,
    RestorePlan,
    RestoreReport,
)


def manifest_entry(manifest: Manifest) -> dict[str, Any]:
    """Return the fields of a complete backup in a JSON document."""
    return {
        "backup_id": manifest.backup_id,
        "project": manifest.project,
        "environment": manifest.environment,
        "source_region": manifest.region,
        "created_at": manifest.created_at,
        "completed_at": manifest.completed_at,
        "created_by": manifest.created_by,
        "database": manifest.database,
        "records": manifest.counts(),
        "raw_bytes": manifest.raw_bytes,
        "stored_bytes": manifest.stored_bytes,
        "parts": [_part(part) for part in manifest.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "name": part.name,
        "records": part.records,
        "raw_bytes": part.raw_bytes,
        "stored_bytes": sum(chunk.size for chunk in part.chunks),
        "objects": len(part.chunks),
        "digest": part.digest,
    }


def summary_entry(entry: BackupEntry) -> dict[str, Any]:
    """Return the fields of a backup in the JSON document of `mjctl backup list`."""
    manifest = entry.signed.manifest if entry.signed else None
    return {
        "backup_id": entry.backup_id,
        "state": entry.state,
        "created_at": entry.created_at.isoformat(),
        "size_bytes": entry.size_bytes,
        "environment": manifest.environment if manifest else None,
        "source_region": manifest.region if manifest else None,
        "records": manifest.counts() if manifest else None,
        "in_use": entry.in_use,
        "opens": entry.opens,
        "problem": entry.problem,
    }


def shown_entry(entry: BackupEntry) -> dict[str, Any]:
    """Return the entry of a backup in the JSON document of `mjctl backup show`."""
    if entry.signed is None:
        return summary_entry(entry)
    keys = [{"region": key.region, "key_id": key.key_id} for key in entry.signed.keys]
    return {**summary_entry(entry), **manifest_entry(entry.signed.manifest), "keys": keys}


def restore_plan_entry(region: str, plan: RestorePlan) -> dict[str, Any]:
    """Return the JSON entry of a region for a restore with --dry-run."""
    steps = [
        {
            "kind": step.part.kind,
            "name": step.part.name,
            "target": step.target,
            "action": step.action,
            "there": step.existing,
            "records": step.part.records,
        }
        for step in plan.steps
    ]
    return {
        "region": region,
        "backup_id": plan.backup_id,
        "source": plan.source,
        "target": plan.target,
        "steps": steps,
        "notes": plan.notes,
    }


def restore_entry(region: str, report: RestoreReport) -> dict[str, Any]:
    """Return the JSON entry of a region for a completed restore."""
    return {
        "region": region,
        "backup_id": report.backup_id,
        "target": report.target,
        "equal": report.equal,
        "seconds": round(report.seconds, 3),
        "parts": [_comparison_entry(item) for item in report.comparisons],
    }


def prune_plan_entry(plan: PrunePlan) -> dict[str, Any]:
    """Return the fields of a region in the JSON document, for a prune that deleted nothing."""
    return {
        "decisions": [
            {
                "backup_id": item.entry.backup_id,
                "keep": item.keep,
                "reasons": item.reasons,
                "state": item.entry.state,
                "size_bytes": item.entry.size_bytes,
            }
            for item in plan.decisions
        ]
    }


def drill_entry(report: DrillReport) -> dict[str, Any]:
    """Return the fields of a region in the JSON document of `mjctl backup drill`."""
    return {
        "backup_id": report.backup_id,
        "proven": report.proven,
        "scratch": report.scratch,
        "removed": report.removed,
        "error": report.error,
        "not_proven": report.not_proven,
        "seconds": dict(report.seconds),
        "parts": [_comparison_entry(item) for item in report.comparisons],
        "checks": [check_entry(check) for check in report.checks],
    }


def _comparison_entry(comparison: Comparison) -> dict[str, Any]:
    """Return the JSON entry of a compared part. In the document, the field `restored` is named `found`."""
    values = asdict(comparison)
    values["found"] = values.pop("restored")
    return values
