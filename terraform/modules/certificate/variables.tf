variable "names" {
  description = "Host names of the certificate. The first name is the certificate's subject."
  type        = list(string)

  validation {
    condition     = length(var.names) >= 1 && length(var.names) <= 10 && length(distinct(var.names)) == length(var.names)
    error_message = "names must contain 1 to 10 different host names."
  }
}

variable "shared_names" {
  description = "Host names among `names` whose validation records another stack owns. ACM requests the same validation record for a name in every region. If one stack owns the record, destroying a region does not delete the record."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.shared_names : contains(var.names, name)])
    error_message = "shared_names contains a name that names does not contain: add the name to names, or remove the name from shared_names."
  }
}

variable "zone_id" {
  description = "Id of the hosted zone of all names. The certificate's validation waits until the parent zone delegates to the hosted zone."
  type        = string
}
