"""The pair: every cell eliminated in closed form, Newton in the global parameters alone."""
