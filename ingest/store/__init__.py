"""The only place of the service that talks to PostgreSQL: pools, the write transaction, reads, users' SQL.

Pure modules (`points`, `summaries`, `pgcopy`, `effects`) hold what can be computed without a database.
"""
