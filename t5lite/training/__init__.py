"""The training step and the loop around it: state, losses, telemetry, preemption."""
