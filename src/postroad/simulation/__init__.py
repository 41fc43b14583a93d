"""The virtual world behind the same contracts: time, network, DNS."""
