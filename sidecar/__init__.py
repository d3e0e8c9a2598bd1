"""Tell a program in the pod that its mounted configuration changed."""

__version__ = "0.1.0"
