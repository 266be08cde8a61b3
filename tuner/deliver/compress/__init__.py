"""A finished model made smaller: steps, what each costs, and the smallest that is good enough."""
