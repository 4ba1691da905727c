variable "environment" {
  description = "Name of the environment, which is part of every resource's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}[a-z0-9]$", var.environment))
    error_message = "environment must be 2 to 16 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "epochs" {
  description = "Epochs by process name, or by `supervisor`, `data-plane`, `data-plane-repair`, `schema`, `certificates` or `web-client`. Raise an epoch to replace a resource that has stopped or changed, although Terraform's state still contains the resource."
  type        = map(number)
  default     = {}
}

variable "game" {
  description = "Settings that all game servers of the region share."
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
  description = "Port on 127.0.0.1 of each process: redis, cache, postgres, aws, api, worker. A game server has two entries: `<name>` for players, and `<name>-ops` for health and metrics."
  type        = map(number)

  validation {
    condition     = alltrue([for port in values(var.ports) : port >= 1024 && port <= 65535])
    error_message = "Every value of ports must be between 1024 and 65535."
  }

  validation {
    condition     = length(distinct(values(var.ports))) == length(var.ports)
    error_message = "Two processes in ports have the same port: give each process its own port."
  }

  validation {
    condition     = length(setsubtract(local.port_names, keys(var.ports))) == 0
    error_message = "ports has no entry for ${join(", ", sort(setsubtract(local.port_names, keys(var.ports))))}."
  }
}

variable "project" {
  description = "Name of the project, which is part of every resource's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}[a-z0-9]$", var.project))
    error_message = "project must be 2 to 16 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "Name of the region, in the form that AWS uses."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must have the form of us-east-1."
  }
}

variable "region_dir" {
  description = "Absolute path of the folder with all files of the region: data, logs, run-time files, secrets and state."
  type        = string

  validation {
    condition     = startswith(var.region_dir, "/") && length(var.region_dir) > 1 && !strcontains(var.region_dir, "'")
    error_message = "region_dir must be an absolute path without single quotes, and must not be the root folder."
  }
}

variable "release_dir" {
  description = "Absolute path of the folder with the package `gameserver` that the processes run. If `release_dir` is null, the processes run the installed package."
  type        = string
  default     = null
}

variable "revision" {
  description = "Digest of the game's code. A new digest replaces the API, the worker and the game servers, and no other process."
  type        = string
}

variable "servers" {
  description = "Zone of each game server by the server's name. A server's name is part of its address, so a new name replaces the server."
  type        = map(string)

  validation {
    condition     = length(setsubtract(var.zones, values(var.servers))) == 0 && length(setsubtract(values(var.servers), var.zones)) == 0
    error_message = "servers must contain at least one server in each of zones, and no server in another zone."
  }
}

variable "tls" {
  description = "Whether every connection uses TLS, with a private certificate authority of the region. With TLS on, connections without TLS are refused."
  type        = bool
  default     = false
}

variable "web_dir" {
  description = "Absolute path of the folder with the web client that the API serves. If `web_dir` is null, the API serves no web client."
  type        = string
  default     = null
}

variable "zones" {
  description = "Availability zones of the region. Each zone has at least one game server."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 1 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must contain at least one zone, and each zone once."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "Each of zones must belong to the region, as us-east-1a belongs to us-east-1."
  }
}
