variable "arguments" {
  description = "Command-line arguments of the game's program, for example [\"serve\"], or options of Redis, for example [\"maxmemory=256mb\"]. Give arguments only for the kinds `gameserver` and `redis`."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "Environment variables of the process. A variable for a secret contains a reference to the secret, never its value."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for value in values(var.environment) : !strcontains(value, "'") && !strcontains(value, "\n")])
    error_message = "A value in environment must not contain single quotes or line breaks, because the supervisor's file format cannot escape these characters."
  }
}

variable "incarnation" {
  description = "Values whose change replaces the process although its definition is the same: code revision, epoch, supervisor."
  type        = map(string)
}

variable "kind" {
  description = "Kind of the process: redis, postgres, aws (the emulated AWS) or gameserver."
  type        = string

  validation {
    condition     = contains(["redis", "postgres", "aws", "gameserver"], var.kind)
    error_message = "kind must be redis, postgres, aws or gameserver."
  }
}

variable "live" {
  description = "URL that the watchdog requests every second. The watchdog kills and restarts a process that fails to answer several times."
  type        = string
}

variable "name" {
  description = "Name of the process in the supervisor of the region."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.name))
    error_message = "name must consist of lower-case letters, digits and hyphens."
  }
}

variable "port" {
  description = "Port on 127.0.0.1 at which the process listens."
  type        = number
}

variable "ready" {
  description = "URL that must answer before the start of the process counts as complete."
  type        = string
}

variable "region_dir" {
  description = "Absolute path of the folder with all files of the region."
  type        = string
}

variable "rolling" {
  description = "Whether this process is never replaced at the same time as another process of the region with `rolling = true`."
  type        = bool
  default     = false
}

variable "start_seconds" {
  description = "Seconds in which the process must become ready."
  type        = number
  default     = 90
}

variable "stop_seconds" {
  description = "Seconds that the supervisor waits for the process to stop before it kills the process."
  type        = number
  default     = 10
}

variable "tls" {
  description = "Whether the process accepts only connections with TLS, and presents the region's certificate."
  type        = bool
  default     = false
}
