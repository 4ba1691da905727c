"""Brings the units of an environment up, changes them and takes them down.

A unit is a region, or a stack that exists once: `foundation` and `edge` on AWS. A deploy passes through these stages.
The modules are named in the order in which they are worth reading.

1. `session` is the entry point. A program makes a `DeploySession` and calls one of its methods: plan, deploy, drift,
   rollback, scale, destroy, bootstrap. The commands of `mjctl.cli` do the same.
2. `operation` holds the locks of all units or of none. It runs each stretch of work in an event loop, asks for
   approval, and keeps the run in the `history`.
3. `planner` answers what a unit is to become. `desired_state` has the local target, `production` the stacks on AWS.
   `inputs` and `aws_inputs` make the variables, and `observation` finds what is missing on this machine.
4. `releases` keeps the code that a plan uses. `store` copies the working tree into a folder that is named by its
   digest, so that what runs never depends on the checkout. `saved_plans` keeps plans between `plan --out` and `deploy
   --plans`.
5. `executor` plans every unit with Terraform, and later applies the plans. A unit that fails does not stop the
   others. `faults` turns an unexpected exception into the result of one unit.
6. `planner.policy` refuses plans that would delete or replace a data store. Then the caller is asked to approve.
7. `staged` applies production in stages: foundation, the primary region if it is new, the other regions, edge.
   `rollout` applies regions in waves: all at once, one after another, or a canary first. Both use the loop of
   `stages`, which touches no further unit after a failure.
8. `gate` checks the health of a region that was changed, before the next wave begins. A region that fails its gate
   can be rolled back to its last good release. `ecs_rollout` checks that ECS has kept what Terraform applied.
9. `teardown` is a destroy: players leave first, the primary region goes last.

`status` and `unlock` need no plan. `bootstrap` makes the bucket in which all other states lie.

What Terraform does to one stack is in `mjctl.terraform`: `operations` (init, plan, apply), `runner` (processes and
signals), `lock`, and `plan_file` (the seal of a saved plan). The gate does not know the health checks: its caller
passes it in, see `mjctl.operations.health`.
"""
