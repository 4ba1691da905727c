terraform {
  required_version = ">= 1.11"

  # Its path is given by mjctl: `init -backend-config=path=<region_dir>/terraform/terraform.tfstate`.
  backend "local" {}
}
