variable "account_id" {
  description = "AWS account that owns the distribution, twelve digits."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket for the web client. The name must be unique on AWS."
  type        = string
}

variable "bucket_region" {
  description = "Region of the default provider, which contains the bucket."
  type        = string
}

variable "certificate_arn" {
  description = "ARN of a validated certificate for `domain`. CloudFront requires a certificate in us-east-1."
  type        = string
}

variable "domain" {
  description = "Domain of the environment, which leads to the web client. The names `api.<domain>` and `play.<domain>` lead to the API and the game servers."
  type        = string
}

variable "force_destroy" {
  description = "Whether Terraform deletes the buckets even if the buckets contain objects."
  type        = bool
  default     = false
}

variable "name" {
  description = "Prefix of the name of every resource: `<project>-<environment>`."
  type        = string
}

variable "price_class" {
  description = "Locations from which CloudFront serves: PriceClass_100, PriceClass_200 or PriceClass_All."
  type        = string
  default     = "PriceClass_All"

  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "price_class must be PriceClass_100, PriceClass_200 or PriceClass_All."
  }
}

variable "regions" {
  description = "Values that each region's stack published for the edge, by region."
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
    error_message = "regions is empty: apply the stack of at least one region first."
  }
}

variable "routing" {
  description = "Service that routes players to the nearest healthy region. `accelerator`: Global Accelerator, with fixed addresses and a failover within seconds. `latency`: Route 53 latency records, which cost less, but a failover takes until resolvers refresh the records."
  type        = string
  default     = "accelerator"

  validation {
    condition     = contains(["accelerator", "latency"], var.routing)
    error_message = "routing must be accelerator or latency."
  }
}

variable "web_acl_arn" {
  description = "ARN of the web ACL, which must have the scope CLOUDFRONT."
  type        = string
}

variable "zone_id" {
  description = "Id of the domain's hosted zone."
  type        = string
}
