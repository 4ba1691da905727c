"""The output of the commands: tables, live views, reports and JSON documents."""
