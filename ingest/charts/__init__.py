"""Charts: what a reader draws of millions of points, as pure functions of numpy arrays. No database, no HTTP.

parts       summaries of sets of points, and their union
buckets     the borders of a chart
attempts    which points count after a resume
groups      mean, deviation and range over several runs
joined      one metric over another
answers     the columns that a client gets, as JSON or msgpack
"""
