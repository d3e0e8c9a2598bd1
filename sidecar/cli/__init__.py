"""The commands for people: run outside of the pod, with libraries that no pod needs.

Nothing that runs in the pod imports this package; only the entry knows of it.
"""

COMMANDS = ("push", "status", "inject", "lint")
