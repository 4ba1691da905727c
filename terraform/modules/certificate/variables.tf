variable "names" {
  description = "Host names of the certificate; the first is its subject."
  type        = list(string)

  validation {
    condition     = length(var.names) >= 1 && length(var.names) <= 10 && length(distinct(var.names)) == length(var.names)
    error_message = "names must hold 1 to 10 host names, each once."
  }
}

variable "shared_names" {
  description = "Those of `names` whose validation record another stack keeps: ACM asks for the same record in every region, and one owner is what keeps it when a region is destroyed."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.shared_names : contains(var.names, name)])
    error_message = "shared_names holds a name that is not in names."
  }
}

variable "zone_id" {
  description = "Hosted zone that answers for every name; it must be delegated, or the validation waits until it is."
  type        = string
}
