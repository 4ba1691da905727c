"""Deploys one region without a console.

Usage: `python examples/deploy_region.py us-east-1 [ENVIRONMENT]`. The default environment is `local`.
"""

import sys

from mjctl.deploy.session import DeploySession
from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace

workspace = Workspace.discover()
environment = load_environment(workspace, sys.argv[2] if len(sys.argv) > 2 else "local")
session = DeploySession(workspace, environment, message="examples/deploy_region.py")
# Before mjctl calls `approve`, it refuses a plan that would lose data. If `approve` returns False, `deploy` applies
# nothing.
result = session.deploy([sys.argv[1]], approve=lambda planned: all(len(unit.changes) < 100 for unit in planned))
for unit in result.results:
    print(unit.unit, unit.outcome, unit.revision, unit.error or "")
sys.exit(result.exit_code)
