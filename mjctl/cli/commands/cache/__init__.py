"""`mjctl cache`: shows and changes the distributed cache."""

from mjctl.cli.commands.cache import change, inspect
from mjctl.cli.group import CommandGroup

app = CommandGroup(no_args_is_help=True, help="Inspect, invalidate or flush the distributed cache.")
for run in (
    inspect.stats,
    inspect.hot,
    inspect.keys,
    inspect.get,
    inspect.ttl,
    change.expire,
    change.invalidate,
    change.flush,
):
    app.command()(run)
