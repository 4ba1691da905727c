variable "account_id" {
  description = "Account of the distribution."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket for the web client, unique in the world."
  type        = string
}

variable "bucket_region" {
  description = "Region of the default provider, where the bucket stands."
  type        = string
}

variable "certificate_arn" {
  description = "Validated certificate in us-east-1 for domain."
  type        = string
}

variable "domain" {
  description = "Domain of the environment: the web client stands at it, `api.` and `play.` before it."
  type        = string
}

variable "force_destroy" {
  description = "Delete the buckets although they hold objects."
  type        = bool
  default     = false
}

variable "name" {
  description = "Prefix of every name, `<project>-<environment>`."
  type        = string
}

variable "price_class" {
  description = "Where CloudFront serves from: PriceClass_100, _200 or _All."
  type        = string
  default     = "PriceClass_All"

  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "price_class must be PriceClass_100, PriceClass_200 or PriceClass_All."
  }
}

variable "regions" {
  description = "What each region's stack published for the edge, by region."
  type = map(object({
    api = object({
      name    = string
      zone_id = string
    })
    health_alarm = string
    load_balancer = object({
      arn      = string
      dns_name = string
      zone_id  = string
    })
  }))

  validation {
    condition     = length(var.regions) >= 1
    error_message = "regions is empty: apply at least one region stack first."
  }
}

variable "routing" {
  description = "How players reach the nearest healthy region: `accelerator` (Global Accelerator: fixed addresses, failover within seconds) or `latency` (Route 53 latency records: cheaper, as quick as resolvers forget)."
  type        = string
  default     = "accelerator"

  validation {
    condition     = contains(["accelerator", "latency"], var.routing)
    error_message = "routing must be accelerator or latency."
  }
}

variable "web_acl_arn" {
  description = "ACL of scope CLOUDFRONT."
  type        = string
}

variable "zone_id" {
  description = "Hosted zone of the domain."
  type        = string
}
