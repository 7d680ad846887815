"""The operator's commands: clients, redrive and invoke, for a stack on AWS or on this machine."""
