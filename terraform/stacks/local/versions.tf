terraform {
  required_version = ">= 1.11"

  # mjctl passes the path of the state: `init -backend-config=path=<region_dir>/terraform/terraform.tfstate`.
  backend "local" {}
}
