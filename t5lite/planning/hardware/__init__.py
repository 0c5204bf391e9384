"""Chips and slices as their data sheets give them: peaks, memory, links, and the devices to compile for."""
