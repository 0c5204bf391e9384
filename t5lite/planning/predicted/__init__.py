"""What a train step will need, from shapes alone: memory, traffic and time, nothing compiled."""
