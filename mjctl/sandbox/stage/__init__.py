"""The stage: real processes behind the resources of the emulated AWS that carry the game.

The emulator ministack keeps the records of ECS, ElastiCache and RDS, and starts containers by Docker's interface. The
stage provides this interface, and its containers are processes of this machine. See docs/decisions/0011-the-stage.md.
"""
