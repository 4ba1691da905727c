variable "account_id" {
  description = "AWS account that owns the repository, twelve digits."
  type        = string
}

variable "force_delete" {
  description = "Whether Terraform deletes the repository even if the repository contains images."
  type        = bool
  default     = false
}

variable "kept_images" {
  description = "Number of images to keep. ECR removes older images."
  type        = number
  default     = 50
}

variable "kms_key_arn" {
  description = "ARN of the KMS key in this region that encrypts the images."
  type        = string
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "replica_regions" {
  description = "Regions that receive a copy of every image, so that tasks can start in these regions while the registry's region is lost."
  type        = set(string)
  default     = []
}
