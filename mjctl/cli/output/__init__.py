"""Everything that a command prints: tables, live views, reports and JSON documents."""
