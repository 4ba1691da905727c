variable "environment" {
  description = "Name of the environment; part of every physical name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}[a-z0-9]$", var.environment))
    error_message = "environment must be 2 to 16 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "epochs" {
  description = "Raised for a process (or `supervisor`, `data-plane`, `data-plane-repair`, `schema`, `certificates`, `web-client`) that is gone or changed although the state says it exists: it is then replaced."
  type        = map(number)
  default     = {}
}

variable "game" {
  description = "What is common to the game servers of the region."
  type = object({
    tick_rate_hz           = number
    max_players_per_server = number
    modes = map(object({
      seats            = number
      duration_seconds = number
      rules            = string
    }))
  })

  validation {
    condition     = var.game.tick_rate_hz >= 1 && var.game.tick_rate_hz <= 60
    error_message = "game.tick_rate_hz must be between 1 and 60."
  }
}

variable "ports" {
  description = "Port on 127.0.0.1 of each process: redis, postgres, aws, api, worker, and for each game server its name (players) and `<name>-ops` (health and metrics)."
  type        = map(number)

  validation {
    condition     = alltrue([for port in values(var.ports) : port >= 1024 && port <= 65535])
    error_message = "Every port must be between 1024 and 65535."
  }

  validation {
    condition     = length(distinct(values(var.ports))) == length(var.ports)
    error_message = "Two processes cannot have the same port."
  }

  validation {
    condition     = length(setsubtract(local.port_names, keys(var.ports))) == 0
    error_message = "ports lacks ${join(", ", sort(setsubtract(local.port_names, keys(var.ports))))}."
  }
}

variable "project" {
  description = "Name of the project; part of every physical name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}[a-z0-9]$", var.project))
    error_message = "project must be 2 to 16 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "Name of the region, as AWS names it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like us-east-1."
  }
}

variable "region_dir" {
  description = "Absolute path of the folder that holds all of this region: data, logs, run-time files, secrets, state."
  type        = string

  validation {
    condition     = startswith(var.region_dir, "/") && length(var.region_dir) > 1 && !strcontains(var.region_dir, "'")
    error_message = "region_dir must be an absolute path without single quotes, and not the root folder."
  }
}

variable "release_dir" {
  description = "Absolute path of a folder with the package `gameserver` that the processes run; null: the installed one."
  type        = string
  default     = null
}

variable "revision" {
  description = "Digest of the game's code; a change replaces API, worker and game servers, and nothing else."
  type        = string
}

variable "servers" {
  description = "Zone of each game server, by the server's name. The name is part of the server's address: another name replaces it."
  type        = map(string)

  validation {
    condition     = length(setsubtract(var.zones, values(var.servers))) == 0 && length(setsubtract(values(var.servers), var.zones)) == 0
    error_message = "servers must name at least one server for each of the zones, and no other zone."
  }
}

variable "tls" {
  description = "TLS on every hop, by a private authority of the region; connections in clear are refused then."
  type        = bool
  default     = false
}

variable "web_dir" {
  description = "Absolute path of the folder with the web client that the API serves; null: it serves none."
  type        = string
  default     = null
}

variable "zones" {
  description = "Availability zones of the region; each has at least one of the game servers."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 1 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must name at least one zone, each once."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "Every zone must belong to the region, e.g. us-east-1a to us-east-1."
  }
}
