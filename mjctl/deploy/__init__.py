"""Deploys, changes and destroys the units of an environment.

A unit is a region, or a stack that exists once in an environment: `foundation` and `edge` on AWS. The list below names
the modules of this package in the order in which a deploy uses them, which is also a good order to read the modules.

1. `session` is the entry point of the package. A program creates a `DeploySession` and calls one of its methods: plan,
   deploy, drift, rollback, scale, destroy, bootstrap. The deploy commands of `mjctl.cli` also use a `DeploySession`.
2. `operation` locks all units or none. An operation runs Terraform in an event loop, asks for approval, and records
   the run in the `history`.
3. `planner` computes the desired state of a unit. The module `desired_state` computes the desired state for the target
   `local`, and `production` for the stacks on AWS. `inputs` and `aws_inputs` compute the Terraform variables.
   `observation` finds missing parts of a region on this machine.
4. `releases` keeps the code that a plan uses. `store` copies the code of the working tree into folders that are named
   by the digest of the code, so that running processes never depend on the checkout. `saved_plans` keeps plans between
   `plan --out` and `deploy --plans`. `web_client` publishes the web client to the bucket of the edge.
5. `executor` plans every unit with Terraform, and later applies the plans. If one unit of a stage or wave fails, the
   executor still applies the plans of the other units of the same stage or wave. `faults` turns an unexpected exception
   into the result of one unit.
6. `planner.policy` refuses plans that would delete or replace a data store. If the data-loss policy allows the plans,
   the session asks its caller for approval.
7. `staged` applies production in stages: foundation, the primary region if it is new, the other regions, edge.
   `rollout` applies regions in waves: all at once, one after another, or a canary first. `staged` and `rollout` use the
   loop in `stages`, which starts no further stage after a unit has failed.
8. `gate` checks the health of a changed region before the next wave begins. A region that fails its gate can be rolled
   back to its newest earlier release that the gate has not found unhealthy. `ecs_rollout` checks that ECS runs the task
   definition that Terraform applied.
9. `teardown` destroys an environment: it first excludes regions from the edge, and it destroys the primary region after
   all other regions.

The modules `status` and `unlock` need no plan. `bootstrap` creates the bucket that stores the states of all other
stacks.

`mjctl.terraform` runs Terraform on one stack: `operations` (init, plan, apply), `runner` (processes and signals),
`lock`, and `plan_file` (the seal of a saved plan). The package `mjctl.deploy` does not import the health checks. The
caller of a `DeploySession` passes a gate that runs the health checks, see `mjctl.operations.health`.
"""
