"""A workflow run on Kubernetes: its launcher, a program, which has Jobs do the work.

May import the ground floor alone; its work is done by commands.
"""

__all__ = ["launcher"]
