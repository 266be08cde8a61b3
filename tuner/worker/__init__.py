"""The process that runs trials, and the child process that trains for it."""
