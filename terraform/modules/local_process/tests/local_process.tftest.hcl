# Default values of the variables for every `run` block of this file, from the example in the module's README. No `run`
# of this file starts a process, because a plan executes no provisioner.
variables {
  incarnation = { supervisor = "example", revision = "1" }
  kind        = "redis"
  live        = "redis://127.0.0.1:6379"
  name        = "redis"
  port        = 6379
  ready       = "redis://127.0.0.1:6379/0"
  region_dir  = "/tmp/arena/us-east-1"
}

run "replaces_the_process_with_its_definition" {
  command = plan

  assert {
    condition     = terraform_data.process.triggers_replace.definition.port == 6379 && terraform_data.process.triggers_replace.incarnation.revision == "1"
    error_message = "A change of the definition or of the incarnation must replace the process."
  }

  assert {
    condition     = !contains(keys(terraform_data.process.triggers_replace.definition), "tls")
    error_message = "Without TLS, the definition of a process must have no field `tls`, so that a deploy does not replace the processes of an older region."
  }
}

run "adds_tls_to_the_definition" {
  command = plan

  variables {
    tls = true
  }

  assert {
    condition     = terraform_data.process.triggers_replace.definition.tls
    error_message = "A process with TLS must be started with TLS."
  }
}

run "rejects_an_unknown_kind" {
  command = plan

  variables {
    kind = "mysql"
  }

  expect_failures = [var.kind]
}

run "rejects_a_name_with_capital_letters" {
  command = plan

  variables {
    name = "Redis"
  }

  expect_failures = [var.name]
}

run "rejects_a_variable_with_a_quote" {
  command = plan

  variables {
    environment = { MOTTO = "it's on" }
  }

  expect_failures = [var.environment]
}
