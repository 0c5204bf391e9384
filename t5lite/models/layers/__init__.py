"""The blocks that every architecture shares: attention, MLP, norm, positions, embedding, stacks."""
