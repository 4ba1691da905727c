variable "arguments" {
  description = "Arguments of the game's program, e.g. [\"serve\"]; only for kind `gameserver`."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "Variables of the process. A secret is named by reference, never by value."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for value in values(var.environment) : !strcontains(value, "'") && !strcontains(value, "\n")])
    error_message = "A variable cannot hold single quotes or line breaks: the supervisor's format has no escapes for them."
  }
}

variable "incarnation" {
  description = "Replaces the process when any value changes, although its definition does not: code revision, epoch, supervisor."
  type        = map(string)
}

variable "kind" {
  description = "What runs: redis, postgres, aws (the emulated AWS) or gameserver."
  type        = string

  validation {
    condition     = contains(["redis", "postgres", "aws", "gameserver"], var.kind)
    error_message = "kind must be redis, postgres, aws or gameserver."
  }
}

variable "live" {
  description = "Address that the watchdog asks every second; a process that no longer answers is killed and restarted."
  type        = string
}

variable "name" {
  description = "Name of the process in its supervisor."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.name))
    error_message = "name must be lower-case letters, digits and hyphens."
  }
}

variable "port" {
  description = "Port on 127.0.0.1 that the process listens on."
  type        = number
}

variable "ready" {
  description = "Address that must answer before the process counts as started."
  type        = string
}

variable "region_dir" {
  description = "Absolute path of the folder that holds all of this region."
  type        = string
}

variable "rolling" {
  description = "Exchange running processes of the region one after another, never two at a time."
  type        = bool
  default     = false
}

variable "start_seconds" {
  description = "How long the process may take to become ready."
  type        = number
  default     = 90
}

variable "stop_seconds" {
  description = "How long the process may take to stop before it is killed."
  type        = number
  default     = 10
}

variable "tls" {
  description = "Take connections with TLS only, and present the region's certificate."
  type        = bool
  default     = false
}
