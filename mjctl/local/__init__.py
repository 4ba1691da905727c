"""The local target: the processes of a region under one supervisor, and what Terraform's provisioners call."""
