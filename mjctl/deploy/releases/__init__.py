"""Keep the code, packages and plans of releases, so that each can be deployed again."""
