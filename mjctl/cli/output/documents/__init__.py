"""The models of the commands' JSON documents. `tools/json_schemas.py` writes docs/schemas/ from the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mjctl.cli.output.documents import backup, cache, fleet, observe, run, setup
from mjctl.cli.output.documents.envelope import VERSION, Envelope, FailureDocument, error_data
from mjctl.models.errors import MjctlError

# The model of the JSON document of each command that has --output.
MODELS: Mapping[str, type[Envelope]] = {
    **dict.fromkeys(("plan", "deploy", "rollback", "destroy", "drift", "servers scale"), run.RunDocument),
    "status": observe.StatusDocument,
    "health": observe.HealthDocument,
    "outputs": observe.OutputsDocument,
    "history": observe.HistoryDocument,
    "unlock": observe.UnlockDocument,
    "loadtest": observe.LoadtestDocument,
    "failover": fleet.FailoverDocument,
    "servers list": fleet.ServersDocument,
    "servers drain": fleet.ServerChangesDocument,
    "servers restart": fleet.ServerChangesDocument,
    "queue list": cache.QueuesDocument,
    "queue peek": cache.LettersDocument,
    "queue redrive": cache.RedriveDocument,
    "queue purge": cache.PurgeDocument,
    "cache stats": cache.CacheStatsDocument,
    "cache hot": cache.HotKeysDocument,
    "cache keys": cache.KeysDocument,
    "cache get": cache.ValueDocument,
    "cache ttl": cache.TtlDocument,
    "cache expire": cache.ExpireDocument,
    "cache invalidate": cache.InvalidateDocument,
    "cache flush": cache.FlushDocument,
    "backup create": backup.BackupCreateDocument,
    "backup list": backup.BackupListDocument,
    "backup show": backup.BackupShowDocument,
    "backup verify": backup.BackupVerifyDocument,
    "backup restore": backup.BackupRestoreDocument,
    "backup prune": backup.BackupPruneDocument,
    "backup drill": backup.DrillsDocument,
    "backup discard": backup.BackupDiscardDocument,
    "bootstrap": setup.BootstrapDocument,
    "package": setup.PackageDocument,
    "sandbox up": setup.SandboxUpDocument,
    "sandbox down": setup.SandboxDownDocument,
    "sandbox status": setup.SandboxStatusDocument,
    "sandbox mail": setup.SandboxMailDocument,
    "sandbox calls": setup.SandboxCallsDocument,
    "config validate": setup.ConfigValidateDocument,
    "config show": setup.ConfigShowDocument,
    "doctor": setup.DoctorDocument,
    "version": setup.VersionDocument,
}
ERROR = "error"


def schema_name(command: str) -> str:
    """Return the name of a command's document without its version. The file of its schema has the same name."""
    return command.replace(" ", "-")


def schema_id(command: str) -> str:
    """Return the value of the field `schema` in a command's document, such as `mjctl.cache-stats/2`."""
    return f"mjctl.{schema_name(command)}/{VERSION}"


def document(
    command: str, environment: str | None, regions: Iterable[object] = (), fields: Mapping[str, Any] | None = None
) -> Envelope:
    """Return the JSON document of a command.

    Args:
        command: name of the command, such as `cache stats`.
        environment: name of the environment, or None for a command that reads no environment or all environments.
        regions: the entries of the regions: dataclasses, models or maps.
        fields: the fields of the document that are not part of the envelope; None if there are none.

    Raises:
        pydantic.ValidationError: the parts do not fit the command's model.
    """
    from mjctl.cli.output.json_document import deep_values, json_ready

    parts = {
        "schema": schema_id(command),
        "command": command,
        "environment": environment,
        "regions": list(regions),
        **(fields or {}),
    }
    with deep_values():
        return MODELS[command].model_validate(json_ready(parts))


def failure(command: str | None, environment: str | None, error: MjctlError) -> FailureDocument:
    """Return the JSON document of a command that succeeded in no region."""
    return FailureDocument.model_validate(
        {
            "schema": schema_id(ERROR),
            "command": command,
            "environment": environment,
            "regions": [
                {"region": region, "error": error_data(region_error)} for region, region_error in error.regions.items()
            ],
            "error": error_data(error),
        }
    )


def json_schema(command: str) -> dict[str, Any]:
    """Return the published JSON Schema of a command's document, or of the document `error`."""
    model = FailureDocument if command == ERROR else MODELS[command]
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    schema["properties"]["schema"] = {**schema["properties"]["schema"], "const": schema_id(command)}
    if command != ERROR:
        described = schema["properties"]["command"]["description"]
        schema["properties"]["command"] = {"const": command, "description": described, "type": "string"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": schema_id(command)}
