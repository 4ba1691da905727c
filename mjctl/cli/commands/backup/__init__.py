"""`mjctl backup`: creates, verifies, restores, deletes and rehearses backups."""

from mjctl.cli.commands.backup import drill, keep, prune, restore
from mjctl.cli.group import CommandGroup

app = CommandGroup(no_args_is_help=True, help="Create, verify, restore, prune and rehearse backups.")
app.command()(keep.create)
app.command("list")(keep.list_backups)
for run in (keep.show, keep.verify, restore.restore, prune.prune, drill.drill, restore.discard):
    app.command()(run)
