"""The same network in every runtime, side by side: what each costs in time and memory, and whether they answer alike.

A worker process imports this package, so it brings nothing with it.
"""
