"""The wiring: configuration, assembly, processes. The only room that knows all the others."""
