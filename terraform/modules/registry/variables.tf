variable "account_id" {
  description = "Account of the registry."
  type        = string
}

variable "force_delete" {
  description = "Delete the repository although it holds images."
  type        = bool
  default     = false
}

variable "kept_images" {
  description = "Images kept; older ones are removed."
  type        = number
  default     = 50
}

variable "kms_key_arn" {
  description = "Key of this region that encrypts images."
  type        = string
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "replica_regions" {
  description = "Regions that receive every image, so that tasks start there although this region is lost."
  type        = set(string)
  default     = []
}
