"""What an administrator can ask for, for the command line, the control socket and later the web alike."""
