"""Any compiled model: dense arrays, arrowhead derivatives, damped Newton, empty bins at rate 0."""
