"""Combines services such as `mjctl.deploy` and `mjctl.health`, because services do not import each other."""
