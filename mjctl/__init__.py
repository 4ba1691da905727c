"""mjctl: plan, apply and operate a multi-region multiplayer game with Terraform and AWS."""

__version__ = "0.1.0"
