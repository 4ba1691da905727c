"""`mjctl backup`."""

from mjctl.cli.commands.backup import drill, keep, prune, restore
from mjctl.cli.group import CommandGroup

app = CommandGroup(no_args_is_help=True, help="Make, verify, restore, prune and rehearse backups.")
app.command()(keep.create)
app.command("list")(keep.list_backups)
for run in (keep.show, keep.verify, restore.restore, prune.prune, drill.drill, restore.discard):
    app.command()(run)
