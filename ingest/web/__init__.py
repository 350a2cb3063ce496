"""The HTTP edge: routes with their access rule, one shape of error, checks that hold for every request."""
