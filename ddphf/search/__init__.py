"""The data-directed search: where two samples differ, and what looking everywhere costs."""
