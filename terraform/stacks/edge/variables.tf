variable "foundation" {
  description = "Contract of the stack foundation."
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
  description = "Days that logs are kept."
  type        = number
  default     = 90
}

variable "notify_emails" {
  description = "Addresses that receive alarms of the edge."
  type        = set(string)
  default     = []
}

variable "price_class" {
  description = "Where CloudFront serves from: PriceClass_100, _200 or _All."
  type        = string
  default     = "PriceClass_All"
}

variable "protect" {
  description = "Keep buckets that hold objects. Without it, destroy leaves nothing."
  type        = bool
  default     = true
}

variable "regions" {
  description = "Output `edge` of every region's stack, by region."
  type = map(object({
    api           = object({ name = string, zone_id = string })
    health_alarm  = string
    load_balancer = object({ arn = string, dns_name = string, zone_id = string })
  }))
}

variable "routing" {
  description = "How players reach the nearest healthy region: `accelerator` or `latency`."
  type        = string
  default     = "accelerator"
}

variable "shield_advanced" {
  description = "Shield Advanced for the distribution, the accelerator and every load balancer. The account must have subscribed, for 3,000 USD a month and a year; Shield Standard is always on at no cost."
  type        = bool
  default     = false
}
