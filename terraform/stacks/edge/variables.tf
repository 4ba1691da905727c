variable "firewall" {
  description = "Decisions of the firewall. `native_clients`: whether requests without the header `User-Agent` pass. `rate_limit`: number of requests in five minutes after which an address is blocked."
  type = object({
    native_clients = optional(bool, false)
    rate_limit     = optional(number, 2000)
  })
  default = {}
}

variable "foundation" {
  description = "The output `contract` of the stack foundation."
  type = object({
    account_id     = string
    environment    = string
    primary_region = string
    project        = string
    target         = string
    dns = object({
      certificate_arn = string
      domain          = string
      zone_id         = string
    })
  })
}

variable "log_retention_days" {
  description = "Number of days for which the firewall's log of blocked requests is kept. The logs of CloudFront and of the accelerator always expire after 90 days."
  type        = number
  default     = 90
}

variable "notify_emails" {
  description = "Email addresses that receive the alarms of the edge."
  type        = set(string)
  default     = []
}

variable "price_class" {
  description = "Locations from which CloudFront serves: PriceClass_100, PriceClass_200 or PriceClass_All."
  type        = string
  default     = "PriceClass_All"
}

variable "protect" {
  description = "Whether Terraform refuses to delete buckets that contain objects. If `protect` is false, `destroy` removes the buckets with their objects."
  type        = bool
  default     = true
}

variable "regions" {
  description = "The output `edge` of every region's stack, by region."
  type = map(object({
    api           = object({ name = string, zone_id = string })
    health_alarm  = string
    load_balancer = object({ arn = string, dns_name = string, zone_id = string })
  }))
}

variable "routing" {
  description = "Service that routes players to the nearest healthy region: `accelerator` (Global Accelerator) or `latency` (Route 53 latency records)."
  type        = string
  default     = "accelerator"
}

variable "shield_advanced" {
  description = "Whether Shield Advanced protects the distribution, the accelerator and every load balancer. The account must subscribe to Shield Advanced for a year, at 3,000 USD a month. Shield Standard is always on at no cost."
  type        = bool
  default     = false
}
